"""What of a study is done, what would run and why; run it in the folder of the workflow."""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from svdrift.cli.text import aligned, duration, last_time
from svdrift.errors import UserError
from svdrift.study.overlays import read_yaml

REASONS = {  # Snakemake's status of a file that it would make again -> why, in our words
    "missing": "not made yet",
    "updated input files": "an input is newer",
    "set of input files changed": "other inputs",
    "rule implementation changed": "its rule changed",
    "params changed": "its settings or code changed",
    "ok": "follows an earlier job",
}
LOGS, BENCHMARKS = "/logs/", "/benchmarks/"  # a job's log and benchmark have one name


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "studies",
        nargs="*",
        type=Path,
        metavar="STUDY.yaml",
        help="overlays of config.yaml, also sweeps; none for the default study",
    )


def main(args: argparse.Namespace) -> int:
    """Print a table for each study.

    Raises: see `summary`.
    """
    for study in args.studies or [None]:
        print(f"{study or 'config.yaml'}\n\n{status_table(summary(study))}\n")
    return 0


def summary(study: Path | None) -> list[dict[str, str]]:
    """What Snakemake's own summary says of each file of a study.

    Raises:
        ModuleNotFoundError: Snakemake is not installed.
        UserError: with Snakemake's own refusal.
    """
    if find_spec("snakemake") is None:  # it runs in a process of its own
        raise ModuleNotFoundError(name="snakemake")
    if not Path("Snakefile").is_file():
        raise UserError("Snakefile: not in this folder; run svdrift where the workflow is")
    command = [sys.executable, "-m", "snakemake", "--summary", "--nocolor"]
    if study is not None:
        command += ["--snakefile", "workflow/sweep.smk"] * ("sweep" in read_yaml(study))
        command += ["--configfile", str(study)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = (answer.stderr + answer.stdout).strip().splitlines()
        refusals = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        raise UserError((refusals or said[-1:])[0])
    return list(csv.DictReader(answer.stdout.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def status_table(files: Sequence[dict[str, str]]) -> str:
    """By rule: its files that are done and to be made, the time of its last jobs, and why."""
    rules: dict[str, list[dict[str, str]]] = {}
    for file in files:
        rules.setdefault(file["rule"], []).append(file)
    lines: list[tuple[str, ...]] = [("rule", "done", "to make", "last time", "why")]
    lines += [_line(rule, found, why=True) for rule, found in rules.items()]
    lines.append(_line("all", files))
    seconds = last_times([file for file in files if to_make(file)])
    return f"{aligned(lines)}\nStill to run, as long as last time: {duration(seconds)}"


def _line(name: str, files: Sequence[dict[str, str]], why: bool = False) -> tuple[str, ...]:
    waiting = [file["status"] for file in files if to_make(file)]
    counts = str(len(files) - len(waiting)), str(len(waiting))
    reasons = ", ".join(dict.fromkeys(REASONS.get(status, status) for status in waiting))
    return name, *counts, duration(last_times(files)), reasons * why


def to_make(file: dict[str, str]) -> bool:
    """Whether Snakemake would make a file of its summary (again)."""
    return file["plan"] != "no update"


def last_times(files: Sequence[dict[str, str]]) -> list[float]:
    """Seconds that the jobs of files took when they last ran, by Snakemake's benchmarks."""
    logs = dict.fromkeys(file["log-file(s)"] for file in files)  # several files of one job
    return [
        second
        for log in logs
        if log  # the rule that writes the configuration has none
        for second in last_time(Path(log.replace(LOGS, BENCHMARKS)).with_suffix(".tsv"))
    ]
