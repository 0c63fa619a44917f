"""What of a study is done, what would run and why; run it in the folder of the workflow."""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from svdrift.cli.text import aligned
from svdrift.errors import UserError

REASONS = {  # why Snakemake runs a job, in the words of its dry run, and in ours
    "Missing output files": "not made yet",
    "Incomplete output files": "was cut off",
    "Updated input files": "an input is newer",
    "Set of input files has changed": "other inputs",
    "Code has changed": "its rule changed",
    "Params have changed": "its settings or code changed",
    "Software environment definition has changed": "its environment changed",
    "Input files updated by another job": "follows an earlier job",
}
JOB = re.compile(r"^( *)(?:local)?rule (\w+):\n((?:\1    .*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A job as a dry run lists it."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: Path | None
    reason: str


@dataclass
class RuleStatus:
    """What of one rule is done, and what would run."""

    done: int = 0
    to_run: int = 0
    reasons: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of its jobs, last time


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

    Raises: see `planned`.
    """
    for study in args.studies or [None]:
        print(f"{study or 'config.yaml'}\n")
        print(status_table(planned(study), planned(study, "--forceall")), end="\n\n")
    return 0


def planned(study: Path | None, *arguments: str) -> list[Job]:
    """The jobs that Snakemake would run for a study, asked of its dry run.

    Raises: UserError with Snakemake's own refusal.
    """
    if not Path("Snakefile").is_file():
        raise UserError("Snakefile: not in this folder; run svdrift where the workflow is")
    if study is not None and not study.is_file():
        raise UserError(f"{study}: no such file (a study is a YAML file, as in experiments/)")
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nocolor", *arguments]
    if study is not None:
        try:
            settings = yaml.safe_load(study.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise UserError(f"{study}: not YAML: {' '.join(str(error).split())}") from None
        sweep = "sweep" in settings
        command += ["--snakefile", "workflow/sweep.smk"] if sweep else []
        command += ["--configfile", str(study)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = (answer.stderr + answer.stdout).strip().splitlines()
        refusals = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        raise UserError((refusals or said[-1:])[0])
    return read_plan(answer.stdout + answer.stderr)


def read_plan(said: str) -> list[Job]:
    """The jobs with outputs in what a dry run prints: a line `rule NAME:`, then `key: value`s.

    Those that a cluster would get together in one job are indented once more.
    """
    jobs = []
    for match in re.finditer(JOB, said):
        lines = [line.strip().split(": ", 1) for line in match[3].splitlines()]
        values = {line[0]: line[1] for line in lines if len(line) == 2}
        if "output" in values:
            jobs.append(
                Job(
                    rule=match[2],
                    inputs=tuple(values["input"].split(", ")) if "input" in values else (),
                    outputs=tuple(values["output"].split(", ")),
                    benchmark=Path(values["benchmark"]) if "benchmark" in values else None,
                    reason=values.get("reason", ""),
                )
            )
    return jobs


def status_table(to_run: Sequence[Job], everything: Sequence[Job]) -> str:
    """By rule in the order of the work: jobs done and to run, their time last time, and why."""
    waiting = {job.outputs: job for job in to_run}
    rules: dict[str, RuleStatus] = {}
    for job in in_order(everything):
        status = rules.setdefault(job.rule, RuleStatus())
        status.seconds += last_time(job.benchmark)
        if job.outputs in waiting:
            status.to_run += 1
            status.reasons += explain(waiting[job.outputs].reason)
        else:
            status.done += 1
    lines = [("rule", "done", "to run", "last time", "why")]
    lines += [
        (
            name,
            str(status.done),
            str(status.to_run),
            duration(status.seconds),
            ", ".join(dict.fromkeys(status.reasons)),
        )
        for name, status in rules.items()
    ]
    total = [second for status in rules.values() for second in status.seconds]
    done = sum(status.done for status in rules.values())
    lines.append(("all", str(done), str(len(everything) - done), duration(total), ""))
    return aligned(lines)


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """By how many jobs must run before, one after another; then by rule.

    A dry run lists jobs after those that they wait for, but otherwise in no order.
    """
    depth: dict[str, int] = {}  # of what makes a file
    steps = []
    for job in jobs:
        step = 1 + max((depth.get(name, 0) for name in job.inputs), default=0)
        depth |= dict.fromkeys(job.outputs, step)
        steps.append((step, job.rule, job.outputs, job))
    return [job for *_, job in sorted(steps, key=lambda entry: entry[:3])]


def explain(reason: str) -> list[str]:
    """Why a job would run: its own causes, or else that it follows another one."""
    found = [ours for theirs, ours in REASONS.items() if theirs in reason]
    if len(found) > 1 and found[-1] == REASONS["Input files updated by another job"]:
        found.pop()
    return found or [reason.split(":")[0]]


def last_time(benchmark: Path | None) -> list[float]:
    """Seconds that a job took when it last ran, by Snakemake's benchmark; empty if it never did."""
    if benchmark is None or not benchmark.is_file():
        return []
    with benchmark.open(encoding="utf-8", newline="") as file:
        return [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]


def duration(seconds: Sequence[float]) -> str:
    """A sum of seconds as `42 s`, `3 min`, `1 h 05 min`; `-` if none are known."""
    if not seconds:
        return "-"
    total = sum(seconds)
    if total < 100:
        return f"{total:.0f} s"
    hours, minutes = divmod(round(total / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
