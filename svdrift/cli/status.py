"""What of a study is done, what would run and why; run it in the folder of the workflow.

Also how many of the jobs that would run the store of finished artefacts serves, how long the
others will take, by the times of finished jobs, and how far training jobs are that have begun.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from svdrift.cli.text import aligned, duration, last_time
from svdrift.errors import UserError
from svdrift.live import FILE, last_row
from svdrift.store import Ask, served
from svdrift.study.overlays import read_yaml

RESULTS = Path("results")
LISTING = "workflow/jobs.py"
REUSE = "scripts/reuse.py"  # of the command of a job that asks the store first
KEPT = "kept="  # and of one that first looks whether a run kept a checkpoint
REUSED = "reused from"  # how the log of a job begins that the store served
HASHED = 2 * 10**8  # bytes of inputs that are read to ask the store: a second or so


@dataclass(frozen=True)
class Job:
    """A job of a study.

    Attributes:
        rule: that it belongs to.
        runs: whether Snakemake would run it now, and `why`.
        log, benchmark: its files; empty without.
        outputs: files and folders that it makes.
        command: that it would run; empty if it would not.
    """

    rule: str
    runs: bool
    why: str
    log: str
    benchmark: str
    outputs: Sequence[str]
    command: str


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

    Raises: see `jobs_of`.
    """
    for study in args.studies or [None]:
        jobs = jobs_of(study)
        stored = in_store(jobs)
        times = Times(jobs)
        table = status_table(jobs, stored, times)
        begun = "".join(f"{line}\n" for line in in_training(jobs))
        left = left_in_words(jobs, stored, times)
        print(f"{study or 'config.yaml'}\n\n{table}\n\n{left}\n{begun}")
    return 0


def jobs_of(study: Path | None) -> list[Job]:
    """Every job of a study, after those that it depends on, as Snakemake sees it.

    Raises:
        ModuleNotFoundError: Snakemake is not installed.
        UserError: with Snakemake's own refusal.
    """
    if find_spec("snakemake") is None:  # it runs in a process of its own
        raise ModuleNotFoundError(name="snakemake")
    if not Path("Snakefile").is_file():
        raise UserError("Snakefile: not in this folder; run svdrift where the workflow is")
    command = [sys.executable, LISTING, "--nocolor"]
    if study is not None:
        command += ["--snakefile", "workflow/sweep.smk"] * ("sweep" in read_yaml(study))
        command += ["--configfile", str(study)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = (answer.stderr + answer.stdout).strip().splitlines()
        refusals = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        raise UserError((refusals or said[-1:])[0])
    return [Job(**json.loads(line)) for line in answer.stdout.splitlines()]


def in_store(jobs: Iterable[Job]) -> set[str]:
    """First outputs of the jobs that the store would serve."""
    store = os.environ.get("SVDRIFT_STORE", str(RESULTS / ".store"))
    waiting = [job for job in jobs if job.runs]
    if not store or not Path(store).is_dir():
        return set()
    stale = {Path(output) for job in waiting for output in job.outputs}
    asking = [(job, ask) for job in waiting if (ask := asked(job.command)) is not None]
    found = served(Path(store), [ask for _, ask in asking], stale, HASHED)
    return {job.outputs[0] for (job, _), yes in zip(asking, found, strict=True) if yes}


def asked(command: str) -> Ask | None:
    """What a job's command asks the store for; None if it asks nothing."""
    words = shlex.split(command)
    if REUSE not in words:
        return None
    parts: dict[str, list[str]] = {}
    for word in words[words.index(REUSE) + 1 : words.index("--")]:
        if word.startswith("--"):
            own = parts[word] = []
        else:
            own.append(word)
    inputs, outputs, candidates, choice = (
        [Path(path) for path in parts.get(f"--{name}", [])]
        for name in ("inputs", "outputs", "candidates", "choice")
    )
    kept = [word.removeprefix(KEPT).rstrip(";") for word in words if word.startswith(KEPT)]
    return Ask(
        parts["--key"],
        inputs,
        outputs,
        tuple(candidates),
        choice[0] if choice else None,
        Path(kept[0]) if kept else None,
    )


class Times:
    """How long jobs take: as they last took, or as the same job or jobs of its kind did elsewhere.

    Args:
        jobs: of the study.
        results: folder of all studies.
    """

    def __init__(self, jobs: Sequence[Job], results: Path = RESULTS) -> None:
        self._results = results
        self._same: dict[str, list[float]] = {}
        self._kind: dict[str, list[float]] = {}
        for benchmark in sorted(results.glob("*/benchmarks/**/*.tsv")):
            if seconds := computed(benchmark):
                self._same.setdefault(self._place(benchmark), []).extend(seconds)
                self._kind.setdefault(self._kind_of(benchmark), []).extend(seconds)

    def last(self, jobs: Iterable[Job]) -> list[float]:
        """Seconds that these jobs took when they last ran."""
        return [
            second for job in jobs if job.benchmark for second in last_time(Path(job.benchmark))
        ]

    def expected(self, job: Job) -> float | None:
        """Seconds that a job will take; None if nothing like it was ever timed."""
        if not job.benchmark:  # such as the one that writes the configuration
            return None
        path = Path(job.benchmark)
        known = (
            computed(path)
            or self._same.get(self._place(path))
            or self._kind.get(self._kind_of(path))
        )
        return sum(known) / len(known) if known else None

    def _place(self, benchmark: Path) -> str:
        """A benchmark's path within its study, the same for the same job of another study."""
        return "/".join(benchmark.parts[len(self._results.parts) + 2 :])

    def _kind_of(self, benchmark: Path) -> str:
        """The same without seed and checkpoint."""
        parts = self._place(benchmark).split("/")
        return parts[1] if len(parts) > 2 else parts[0]


def computed(benchmark: Path) -> list[float]:
    """Seconds that a job took when it last ran, unless the store served it."""
    log = Path(str(benchmark).replace("/benchmarks/", "/logs/")).with_suffix(".log")
    if log.is_file() and f"{REUSED} " in log.read_text(encoding="utf-8", errors="replace"):
        return []
    return last_time(benchmark)


def status_table(jobs: Sequence[Job], stored: set[str], times: Times) -> str:
    """By rule: jobs done, to run and in the store, the time of the last ones, and why they run."""
    rules: dict[str, list[Job]] = {}
    for job in jobs:
        rules.setdefault(job.rule, []).append(job)
    lines: list[tuple[str, ...]] = [("rule", "done", "to run", "in store", "last time", "why")]
    lines += [_line(rule, found, stored, times, why=True) for rule, found in rules.items()]
    lines.append(_line("all", jobs, stored, times))
    return aligned(lines)


def _line(
    name: str, jobs: Sequence[Job], stored: set[str], times: Times, why: bool = False
) -> tuple[str, ...]:
    waiting = [job for job in jobs if job.runs]
    there = sum(job.outputs[0] in stored for job in waiting)
    counts = str(len(jobs) - len(waiting)), str(len(waiting)), str(there) if waiting else ""
    reasons = ", ".join(dict.fromkeys(job.why for job in waiting))
    return name, *counts, duration(times.last(jobs)), reasons * why


def in_training(jobs: Iterable[Job]) -> list[str]:
    """A line for each training job that has begun and not finished: its last metrics, how old."""
    places = {Path(output).parts[:2] for job in jobs for output in job.outputs}
    newest: dict[Path, tuple[float, str]] = {}  # by the folder of a run's snapshots
    for place in places:
        for file in Path(*place).glob(f"seed-*/snapshots/*/*/{FILE}"):
            with suppress(FileNotFoundError):  # the job has finished meanwhile
                changed, row = file.stat().st_mtime, last_row(file)
                if row is not None:
                    run = file.parents[1]
                    line = f"In training: {run.parents[1].name} {run.name}, {_shown(row)}"
                    age = duration([max(0.0, time.time() - changed)])
                    newest[run] = max(
                        newest.get(run, (0.0, "")), (changed, f"{line}, {age} ago ({file})")
                    )
    return [line for _, (_, line) in sorted(newest.items())]


def _shown(row: Mapping[str, str]) -> str:
    """The step of a row, and what training is about."""
    return ", ".join(f"{name} {float(value or 'nan'):.6g}" for name, value in [*row.items()][:2])


def left_in_words(jobs: Sequence[Job], stored: set[str], times: Times) -> str:
    """What is still to do, and how long it takes on the cores of this machine."""
    waiting = [job for job in jobs if job.runs]
    if not waiting:
        return "Nothing is left to run."
    computing = [job for job in waiting if job.outputs[0] not in stored]
    known = [s for job in computing if (s := times.expected(job)) is not None]
    counts = f"{len(waiting)} of {len(jobs)} jobs are left"
    if served := len(waiting) - len(computing):
        counts += f"; the store serves {served} of them"
    if not known:
        return f"{counts}. No job like {'the rest' if served else 'them'} was timed yet."
    cores = os.cpu_count() or 1
    # Jobs that wait for one another leave cores idle, so this is the least.
    least = max(sum(known) / cores, *known)
    computes = "The rest computes" if served else "They compute"
    text = f"{counts}. {computes} for {duration([sum(known)])}"
    text += f": {duration([least])} or more on {cores} cores, by the times of finished jobs"
    if lacking := len(computing) - len(known):
        text += f" ({lacking} were never timed and are not counted)"
    return f"{text}."
