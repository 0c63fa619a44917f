"""Resume a run on a Slurm cluster whose Snakemake was killed.

The jobs of a killed Snakemake keep running, and the next Snakemake would submit them again. This
cancels them first, waits until they have ended (training saves a snapshot and resumes from it), and
runs `snakemake --profile slurm` with the arguments given, which releases the lock.
"""

import argparse
import os
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.running import at_work
from svdrift.scripting import run
from svdrift.slurm import ask, jobs_of, run_ids

STATE = Path(".snakemake")
POLL_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="%(prog)s [-h] [arguments of snakemake, such as --configfile FILE]",
        allow_abbrev=False,
    )
    _, arguments = parser.parse_known_args()
    if (said := at_work(STATE)) is not None:
        raise UserError(said)
    cancel_jobs(run_ids((STATE / "log").glob("*.log")))
    os.execvp("snakemake", ["snakemake", "--profile", "slurm", *arguments])


def cancel_jobs(names: list[str]) -> None:
    """Cancel all Slurm jobs of these names and wait until they have ended.

    Raises:
        UserError: Slurm does not answer.
    """
    if not names:
        return
    left = jobs_of(names)
    if left:
        print(f"cancels {len(left)} jobs that go on without their Snakemake: {' '.join(left)}")
        ask("scancel", *left)
    while left:
        print(f"waits for {len(left)} jobs to save what they have and end", flush=True)
        time.sleep(POLL_S)
        left = jobs_of(names)


if __name__ == "__main__":
    run(main)
