"""The whole default study from nothing, and figures drawn anew, in a fresh copy of the repository.

python -m benchmarks.study [--size full|pico] [--out FILE] [--page]

It needs an idle machine: CPU seconds are those of the whole machine, beside which the wall time
of a study on so many cores can never be less than their share of a core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.__main__ import about, put
from tests.workflow.clones import copy_repository, variables_in

BEGIN, END = "<!-- study: written by `make bench` -->\n", "<!-- end of study -->\n"
STUDIES = {"full": [], "pico": ["--configfile", "tests/workflow/pico.yaml"]}
TOUCHED = {  # what somebody edits, and what is drawn anew
    "one figure's module": "svdrift/figures/rl_progress.py",
    "the style of all figures": "svdrift/figures/style.py",
}


def busy() -> float:
    """CPU seconds that all processes of this machine have taken since it started."""
    times = psutil.cpu_times()
    return float(times.user + times.system)


def run(clone: Path, arguments: list[str]) -> dict[str, float]:
    """Let Snakemake bring the study up to date; seconds by the clock and of CPU."""
    began, taken = time.perf_counter(), busy()
    variables = {name: text for name, text in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        ["snakemake", "--cores", "all", *arguments],
        cwd=clone,
        env=variables | variables_in(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-5000:])
    return {"seconds": time.perf_counter() - began, "cpu": busy() - taken}


def measure(size: str) -> dict[str, dict[str, float]]:
    """The study, then each edit."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        clone = copy_repository(Path(folder))
        found["the default study, from nothing"] = run(clone, STUDIES[size])
        print(found, flush=True)
        for what, file in TOUCHED.items():
            with (clone / file).open("a", encoding="utf-8") as module:
                module.write("\nEDITED = True\n")
            found[f"{what} edited"] = run(clone, STUDIES[size])
            print(found, flush=True)
    return found


def page(found: dict[str, Any]) -> str:
    """The table and what it was measured on."""
    of = found["machine"]
    rows = [
        f"| {what} | {cost['seconds']:.1f} s | {cost['cpu']:.0f} s | "
        f"{cost['seconds'] * of['cores'] / cost['cpu']:.2f} |"
        for what, cost in found["rows"].items()
    ]
    head = "| what | time | CPU | time over CPU a core |\n| --- | --- | --- | --- |\n"
    return (
        f"Measured on {found['date']}, {of['cpu']} ({of['cores']} cores), PyTorch {of['torch']}.\n"
        f"\n{head}" + "\n".join(rows) + "\n"
    )


def main() -> int:
    """Measure the study and what an edit costs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=list(STUDIES), default="full")
    parser.add_argument("--out", type=Path, help="JSON with all times")
    parser.add_argument("--page", action="store_true", help="put the table into the docs")
    arguments = parser.parse_args()
    found = {"date": time.strftime("%Y-%m-%d"), "machine": about()}
    found["rows"] = measure(arguments.size)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.page:
        put(BEGIN, page(found), END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
