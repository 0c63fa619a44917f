"""How a study came about: by which code, when, on what machines, and what each stage cost."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

DIRTY = "-dirty"
REUSED = "reused from"  # how the log of a job begins whose results the store had
UNKNOWN = "unknown (not run in a git clone)"


@dataclass(frozen=True)
class Origins:
    """What the provenance of several artefacts says together.

    Attributes:
        commits: how many artefacts each commit made.
        machines: how many each machine made, in words.
        first, last: when the first and the last of them was begun (UTC); empty where there is none.
    """

    commits: Counter[str]
    machines: Counter[str]
    first: str = ""
    last: str = ""

    @property
    def dirty(self) -> list[str]:
        """The commits with local edits."""
        return [commit for commit in self.commits if commit.endswith(DIRTY)]


def origins(records: Iterable[Mapping[str, Any]]) -> Origins:
    """Gather records of `svdrift.scripting.write_provenance`."""
    found = list(records)
    times = sorted(minute(record["started"]) for record in found)
    return Origins(
        Counter(record["commit"] or UNKNOWN for record in found),
        Counter(machine(record["hardware"]) for record in found),
        *((times[0], times[-1]) if times else ()),
    )


def minute(moment: str) -> str:
    """`2026-11-26 10:18` of `2026-11-26T10:18:27+00:00`."""
    return moment[:16].replace("T", " ")


def machine(hardware: Mapping[str, Any]) -> str:
    """`AMD EPYC, 2 cores; NVIDIA H200`."""
    gpu = f"; {hardware['gpu']}" if hardware["gpu"] else "; no GPU used"
    return f"{hardware['cpu']}, {hardware['cores']} cores{gpu}"


@dataclass
class Cost:
    """Jobs of one kind: how many, their seconds, and how many took results from the store."""

    jobs: int = 0
    seconds: list[float] = field(default_factory=list)
    reused: int = 0

    @property
    def total(self) -> float:
        """Seconds of all jobs that ran."""
        return sum(self.seconds)

    @property
    def longest(self) -> float:
        """Seconds of the longest job."""
        return max(self.seconds, default=0.0)


def costs(benchmarks: Path, logs: Path) -> dict[str, Cost]:
    """What each kind of job cost, the dearest first; training by its stage.

    Args:
        benchmarks: folder of Snakemake's benchmarks, a file a job.
        logs: folder of the jobs' logs, which have the same names. What the store had counts as a
            job without time.
    """
    found: dict[str, Cost] = {}
    for file in sorted(benchmarks.rglob("*.tsv")):
        name = file.relative_to(benchmarks)
        cost = found.setdefault(_kind(name), Cost())
        cost.jobs += 1
        if _was_reused(logs / name.with_suffix(".log")):
            cost.reused += 1
            continue
        with file.open(encoding="utf-8", newline="") as opened:
            cost.seconds += [float(row["s"]) for row in csv.DictReader(opened, delimiter="\t")]
    return dict(sorted(found.items(), key=lambda item: -item[1].total))


def _kind(name: Path) -> str:
    """`train ppo` of `seed-0/train/sft-64.ppo.tsv`, `plot` of `plot_stages.tsv`."""
    parts = [part for part in name.with_suffix("").parts if not part.startswith("seed-")]
    if parts[0] == "train":
        return f"train {parts[1].rpartition('.')[2]}"
    first = parts[0].partition("_")[0]
    return first if first in ("plot", "collect", "keep") else parts[0].replace("_", " ")


def _was_reused(log: Path) -> bool:
    if not log.is_file():
        return False
    with log.open(encoding="utf-8", errors="replace") as opened:
        return any(line.startswith(REUSED) for line in islice(opened, 3))


def clock(seconds: float) -> str:
    """`12.3 s`, `4 min 05 s`, `2 h 03 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
