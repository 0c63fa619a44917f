"""Kill, damage and starve a real study, and see whether it ends as an undisturbed one.

`python -m tests.validation.reliability` does all of it, in half an hour on two cores, and writes
its tables into docs/reliability.md; `tests/workflow/test_reliability.py` does a part. A full disk
is a small file system of its own, which takes root on Linux.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from svdrift.models.loading import save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks import task_class
from tests.validation.page import made, with_tables
from tests.workflow.clones import ROOT, copy_repository, variables_in

PAGE = ROOT / "docs" / "reliability.md"
NAME, OVERLAY = "disturbed", "tests/validation/disturbed.yaml"
RULE = re.compile(r"(?:local)?rule (\w+):$")
FINISHED = re.compile(r"Finished jobid: (\d+) ")
REFUSAL = re.compile(r"error: (.+); delete (.+) and run the same command again")
LIMIT = 900.0  # seconds, for one run of Snakemake
TRAINS = "train_"
NOT_COMPARED = ("provenance.json", "checksums.sha256", "report.html")
"""Provenance and report say when and how something was made; checksums cover what is compared."""


@dataclass
class Workplace:
    """A copy of the repository with a study in it.

    Attributes:
        root: the copy.
        arguments: of every `snakemake`, beside the targets.
        goal: what of the study is made; empty for all.
        finished: what each finished job made, of all runs.
        kinds: of the jobs, in the order in which they began.
        resumed: runs of training that went on from a snapshot.
    """

    root: Path
    arguments: tuple[str, ...] = ()
    goal: tuple[str, ...] = ()
    finished: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, None] = field(default_factory=dict)
    resumed: set[str] = field(default_factory=set)

    @property
    def results(self) -> Path:
        return self.root / "results" / NAME

    def start(self, *targets: str) -> subprocess.Popen[str]:
        """`snakemake` for these, or for the goal; what it says is to be read."""
        command = ("snakemake", "--cores", "2", "--configfile", OVERLAY, *self.arguments)
        return subprocess.Popen(
            [*command, "--", *(f"results/{NAME}/{target}" for target in targets or self.goal)],
            cwd=self.root,
            env=os.environ | variables_in(self.root),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *targets: str) -> tuple[int, str]:
        """The exit status of `snakemake` and what it said."""
        process = self.start(*targets)
        said, _ = process.communicate(timeout=LIMIT)
        self.note(said.splitlines())
        self.note_resumed()
        return process.returncode, said

    def finish(self, *targets: str) -> None:
        """Run, and fail unless all is made."""
        status, said = self.run(*targets)
        if status:
            raise RuntimeError(f"the study ended with status {status}:\n{said[-4000:]}")

    def note(self, lines: Sequence[str]) -> None:
        """Count what the jobs made that these lines tell of as finished."""
        outputs: dict[str, str] = {}
        rule = current = ""
        for line in lines:
            if found := RULE.match(line):
                rule, current = kind(found[1]), ""
            elif line.startswith("    output: "):
                current = line.removeprefix("    output: ")
                self.kinds[rule] = None
            elif line.startswith("    jobid: "):
                outputs[line.removeprefix("    jobid: ")] = current
            elif (ended := FINISHED.match(line)) and outputs.get(ended[1]):  # not `all`
                self.finished[outputs[ended[1]]] += 1

    def note_resumed(self) -> None:
        """Look into the logs of training, of which the next attempt makes new ones."""
        for log in self.results.glob("logs/seed-*/train/*.log"):
            if "goes on from the snapshot" in log.read_text(errors="replace"):
                self.resumed.add(log.stem)

    def artefacts(self) -> dict[str, str]:
        """The SHA-256 of each table, model, file of factors, figure and text of the study."""
        return {
            str(path.relative_to(self.results)): sha256(path)
            for path in sorted(self.results.rglob("*"))
            if path.is_file()
            and not path.name.startswith(".")
            and not path.name.endswith(NOT_COMPARED)
            and path.relative_to(self.results).parts[0] not in ("logs", "benchmarks")
            and "snapshots" not in path.parts
        }

    def left(self) -> list[str]:
        """Locks, notes and claims that nobody holds any more, and half-written files."""
        state = self.root / ".snakemake"
        found = [*(state / "locks").glob("*"), *(state / "svdrift-runs").glob("*.json")]
        found += [*(state / "incomplete").glob("*"), *self.root.glob("results/.store/*.claim")]
        return [str(path.relative_to(self.root)) for path in found if path.is_file()]


def sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def tell(text: str) -> None:
    print(text, flush=True)


# ------------------------------------------------------------------------------------ kills


def kind(rule: str) -> str:
    """Rules that run the same script are of one kind."""
    return re.sub(r"^(collect|plot|keep)_.*", r"\1", rule)


@dataclass(frozen=True)
class Kill:
    """SIGKILL while a job was at work.

    Attributes:
        kind: of the job.
        alone: Snakemake alone was killed, and its descendants went on; else all of them.
    """

    kind: str
    alone: bool


def kill_in(place: Workplace, wanted: Counter[str], draw: random.Random) -> Kill | None:
    """Run the study until a job of a wanted kind works, and kill; None where it ended before.

    Args:
        wanted: how many kills each kind is still to see; this one is counted off.
    """
    process, lines, hit = place.start(), [], None
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        found = RULE.match(lines[-1])
        if hit is None and found and wanted[kind(found[1])] > 0:
            hit = Kill(kind(found[1]), alone=draw.random() < 0.5)
            if hit.kind.startswith(TRAINS) and wanted[hit.kind] == 1:
                until_a_snapshot(place, hit.kind.removeprefix(TRAINS))
            else:
                time.sleep(draw.uniform(0.0, 2.5))
            kill(process, alone=hit.alone)
    process.wait(timeout=LIMIT)
    place.note(lines)
    place.note_resumed()
    if hit is None:
        if process.returncode:
            raise RuntimeError("\n".join(lines[-60:]))
        return None
    wanted[hit.kind] -= 1
    return hit


def until_a_snapshot(place: Workplace, stage: str) -> None:
    """Wait until a run of the stage has left something to go on from, or has ended."""
    end, began = time.monotonic() + LIMIT, False
    while time.monotonic() < end:
        runs = [run for run in place.results.glob("seed-0/snapshots/*") if run.name.endswith(stage)]
        for run in runs:  # within lies a folder for each key
            if [*run.glob("*/checkpoint-*/trainer_state.json"), *run.glob("*/snapshot-*")]:
                return
        if began and not runs:
            return
        began = began or bool(runs)
        time.sleep(0.05)


def kill(process: subprocess.Popen[str], alone: bool) -> None:
    others = [] if alone else psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for other in others:
        with suppress(psutil.NoSuchProcess):
            other.kill()
    if alone:  # they hold the pipe that is read
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)


@dataclass(frozen=True)
class Killed:
    """What kills have done to a study that was run to its end between and after them."""

    kills: tuple[Kill, ...]
    artefacts: int
    different: tuple[str, ...]
    again: tuple[str, ...]
    resumed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def harmless(self) -> bool:
        return not (self.different or self.again or self.left)


def killed(place: Workplace, undisturbed: dict[str, str], wanted: Counter[str]) -> Killed:
    """Run a study to its end through kills, and compare it with an undisturbed one."""
    draw, kills = random.Random(0), []
    while sum(wanted.values()) and (one := kill_in(place, wanted, draw)):
        kills.append(one)
        how = "Snakemake alone" if one.alone else "with all descendants"
        tell(f"  kill {len(kills)}: in {one.kind}, {how}; {sum(place.finished.values())} jobs done")
    place.finish()
    found = place.artefacts()
    return Killed(
        tuple(kills),
        len(undisturbed),
        tuple(sorted(set(found.items()) ^ set(undisturbed.items()))),
        tuple(outputs for outputs, times in place.finished.items() if times > 1),
        tuple(sorted(place.resumed)),
        tuple(place.left()),
    )


# ---------------------------------------------------------------------------------- damages

Damage = Callable[[Path], None]


def one_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def cut_in_half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


DAMAGES: dict[str, Damage] = {
    "one bit": one_bit,
    "cut in half": cut_in_half,
    "emptied": emptied,
}
READERS = {  # an artefact, and what is made from it
    "seed-0/problems/ood_test.parquet": "seed-0/evaluation/sft-80/accuracy.parquet",
    "seed-0/models/sft-80/model.safetensors": "seed-0/evaluation/sft-80/accuracy.parquet",
    "seed-0/models/sft-80/config.json": "seed-0/spectra/sft-80/factors.safetensors",
    "seed-0/models/sft-80/tokenizer.json": "seed-0/evaluation/sft-80/accuracy.parquet",
    "seed-0/spectra/base/factors.safetensors": "seed-0/drift/base-to-sft-240/drift.parquet",
    "seed-0/evaluation/sft-80/episodes.parquet": "tables/recovery.parquet",
    "seed-0/drift/base-to-sft-240/drift.parquet": "tables/drift.parquet",
    "tables/accuracy.parquet": "figures/accuracy_by_step.png",
}


@dataclass(frozen=True)
class Damaged:
    """One damaged artefact.

    Attributes:
        refused: in one line that names the file and says what mends it.
        mended: after what the line said, the same command made the same bytes as before.
        said: the line, or the end of what was said instead.
    """

    artefact: str
    damage: str
    refused: bool
    mended: bool
    said: str


def damaged(place: Workplace, artefact: str, damage: str, whole: dict[str, str]) -> Damaged:
    """Damage an artefact of a finished study, ask for what is made from it, and do as told."""
    reader, file = READERS[artefact], place.results / artefact
    before = file.read_bytes()
    DAMAGES[damage](file)
    (place.results / reader).unlink()
    status, said = place.run(reader)
    lines = {line[line.index("error: ") :] for line in said.splitlines() if "error: " in line}
    found = [line for line in lines if artefact in line]
    told = REFUSAL.fullmatch(found[0]) if len(found) == 1 else None
    refused = status == 1 and told is not None and "Traceback" not in said
    if told is None:
        file.write_bytes(before)
        return Damaged(artefact, damage, False, False, said[-2000:])
    named = told[2].replace(" (links to the same file)", "").split(" and ")
    for name in named:
        remove(file if name == "it" else place.root / name)
    place.finish(reader)
    place.finish()
    return Damaged(artefact, damage, refused, place.artefacts() == whole, found[0])


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


# -------------------------------------------------------------------------------- full disks


@dataclass(frozen=True)
class Starved:
    """A job that found its disk full."""

    what: str
    refused: bool
    mended: bool
    said: str


TRAINED = ("models/sft-240", "training/sft", "snapshots/sft")
FULL = {  # what is written; the folder with little room; bytes of room; what is made, all of it
    "a snapshot while training": ("snapshots", 32 << 10, TRAINED),
    "a model": ("training", 16 << 10, TRAINED),
    "factors": ("spectra", 12 << 10, ("spectra/sft-240/factors.safetensors", "spectra/sft-240")),
    "episodes": (
        "evaluation",
        8 << 10,
        ("evaluation/sft-240/episodes.parquet", "evaluation/sft-240"),
    ),
}


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A folder is empty and has so many bytes of room; then it holds again what it held.

    Raises:
        PermissionError: this process may not mount file systems.
    """
    aside = folder.with_name(f".{folder.name}-aside")
    folder.mkdir(parents=True, exist_ok=True)
    folder.rename(aside)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, check=False).returncode:
            raise PermissionError("a full disk takes root on Linux")
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    finally:
        folder.rmdir()
        aside.rename(folder)


def starved(place: Workplace, what: str, whole: dict[str, str]) -> Starved:
    """Let the disk be full where a job writes, then not; nothing comes from the store."""
    name, size, (made, *others) = FULL[what]
    folder, target = f"seed-0/{name}", f"seed-0/{made}"
    for path in (place.root / "results/.store", *(place.results / "seed-0" / p for p in others)):
        shutil.rmtree(path, ignore_errors=True)
    remove(place.results / target)
    with small_disk(place.results / folder, size):
        status, said = place.run(target)
    lines = {line[line.index("error: ") :] for line in said.splitlines() if "error: " in line}
    found = [line for line in lines if "no space is left on its disk; make room" in line]
    refused = status == 1 and len(found) == 1 and folder in found[0] and "Traceback" not in said
    place.finish(target)
    place.finish()
    return Starved(what, refused, place.artefacts() == whole, found[0] if found else said[-2000:])


# -------------------------------------------------------------------------------------- page


def killed_line(what: str, found: Killed) -> str:
    """A row of the table of kills."""
    alone = sum(one.alone for one in found.kills)
    kinds = Counter(one.kind for one in found.kills)
    jobs = ", ".join(f"{name} × {count}" if count > 1 else name for name, count in kinds.items())
    same = found.artefacts - len({path for path, _ in found.different})
    return (
        f"| {what} | {len(found.kills)}: {alone} of Snakemake alone, {len(found.kills) - alone} "
        f"with all its descendants | {jobs} | {same} of {found.artefacts} | {len(found.again)} "
        f"| {', '.join(found.resumed)} | {len(found.left)} |\n"
    )


def page(kills: dict[str, Killed], damages: Sequence[Damaged], disks: Sequence[Starved]) -> str:
    """The tables of docs/reliability.md."""
    text = (
        "\n| study | SIGKILLs | while these jobs worked | files as in an undisturbed run "
        "| finished jobs that ran again | runs that went on from a snapshot | leftovers |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    text += "".join(killed_line(what, found) for what, found in kills.items())
    text += (
        "\n| damaged | how | refused in one line, with the remedy | the remedy gave the same bytes "
        "|\n| --- | --- | --- | --- |\n"
    )
    for artefact in READERS:
        rows = [row for row in damages if row.artefact == artefact]
        text += f"| `{artefact}` | {', '.join(row.damage for row in rows)} "
        text += f"| {sum(row.refused for row in rows)} of {len(rows)} "
        text += f"| {sum(row.mended for row in rows)} of {len(rows)} |\n"
    text += (
        "\n| the disk is full when this is written | refused in one line | the same command, with "
        "room, gave the same bytes |\n| --- | --- | --- |\n"
    )
    for row in disks:
        text += f"| {row.what} | {yes(row.refused)} | {yes(row.mended)} |\n"
    return text


def yes(value: bool) -> str:
    return "yes" if value else "**no**"


# -------------------------------------------------------------------------------------- main


def workplace(folder: Path, *arguments: str, goal: tuple[str, ...] = ()) -> Workplace:
    """A copy of the repository, and a model for the study to import."""
    place = Workplace(copy_repository(folder), arguments, goal)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(task_class("general_points").words)
    shape = {"hidden_size": 16, "layers": 2, "heads": 2, "intermediate_size": 32}
    model = make_model(len(tokenizer), ArchitectureSettings(**shape))
    save_checkpoint(model, tokenizer, place.root / "foreign")
    return place


def main() -> int:
    """Do everything, tell it, and write the page; 1 where a promise was not kept."""
    began = time.monotonic()
    top = Path(tempfile.mkdtemp(prefix="svdrift-reliability-"))
    kills: dict[str, Killed] = {}
    for what, arguments in {
        "one process": (),
        "two processes a training": ("--config", "compute={processes: 2}"),
    }.items():
        tell(f"{what}: undisturbed")
        first = workplace(top / f"undisturbed-{len(kills)}", *arguments)
        first.finish()
        whole = first.artefacts()
        tell(f"{what}: {len(whole)} files, {sum(first.finished.values())} jobs; now with kills")
        second = workplace(top / f"killed-{len(kills)}", *arguments)
        trains = [name for name in first.kinds if name.startswith(TRAINS)]
        wanted = Counter(trains * 2 if kills else [*first.kinds, *trains])
        kills[what] = killed(second, whole, wanted)
        tell(killed_line(what, kills[what]))
        if len(kills) == 1:
            study, reference = first, whole
    damages, disks = [], []
    for artefact in READERS:
        for damage in DAMAGES:
            damages.append(damaged(study, artefact, damage, reference))
            tell(f"  {damages[-1]}")
    for what in FULL:
        disks.append(starved(study, what, reference))
        tell(f"  {disks[-1]}")
    text = made((time.monotonic() - began) / 60, "two cores") + page(kills, damages, disks)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    tell(f"written: {PAGE}")
    kept = all(one.harmless for one in kills.values())
    kept = kept and all(row.refused and row.mended for row in (*damages, *disks))
    if kept:
        shutil.rmtree(top)
    else:
        tell(f"a promise was not kept; what was left: {top}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
