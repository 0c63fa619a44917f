"""Resume a run on a Slurm cluster whose Snakemake was killed.

The jobs of a killed Snakemake keep running, and the next Snakemake would submit them again. This
cancels them first, waits until they have ended (training saves a snapshot and resumes from it),
removes the lock, and runs `snakemake --profile slurm` with the arguments given.
"""

import argparse
import os
import re
import subprocess
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.running import holder
from svdrift.scripting import run

STATE = Path(".snakemake")
POLL_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="%(prog)s [-h] [arguments of snakemake, such as --configfile FILE]",
        allow_abbrev=False,
    )
    _, arguments = parser.parse_known_args()
    if (who := holder(STATE)) is not None:
        raise UserError(f"{STATE}: a Snakemake is at work here ({who}); end that one first")
    cancel_jobs(run_ids(STATE / "log"))
    subprocess.run(["snakemake", "--unlock", *arguments], check=True)
    os.execvp("snakemake", ["snakemake", "--profile", "slurm", *arguments])


def run_ids(logs: Path) -> list[str]:
    """Names that earlier runs gave their Slurm jobs, from Snakemake's logs."""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in logs.glob("*.log"))
    found = (re.search(r"^SLURM run ID: (\S+)$", text, re.MULTILINE) for text in texts)
    return [match[1] for match in found if match]


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
        slurm("scancel", *left)
    while left:
        print(f"waits for {len(left)} jobs to save what they have and end", flush=True)
        time.sleep(POLL_S)
        left = jobs_of(names)


def jobs_of(names: list[str]) -> list[str]:
    """Ids of the Slurm jobs of these names that are queued, running or ending."""
    return slurm("squeue", "--noheader", "--format=%i", f"--name={','.join(names)}").split()


def slurm(*command: str) -> str:
    """What one of Slurm's programs prints.

    Raises:
        UserError: the program is missing, does not answer or fails, with what it says.
    """
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: not found; resume where Slurm's programs are") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]}: Slurm does not answer; try again later") from None
    if answer.returncode:
        raise UserError(f"{command[0]}: {answer.stderr.strip()}")
    return answer.stdout


if __name__ == "__main__":
    run(main)
