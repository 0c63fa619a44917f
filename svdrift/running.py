"""Who runs the workflow in a folder, and what those left there who were killed.

Snakemake's own lock stays when Snakemake is killed, and does not say who holds it. So each one
notes itself in a file (`noted`), and the next one releases what the dead have left (`release`):
their processes, their folders, and their locks. What may still be at work is never released.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self

import psutil

from svdrift.errors import UserError
from svdrift.liveness import Process
from svdrift.scripting import AGAIN
from svdrift.slurm import jobs_of, run_ids

NOTES, LOCKS = "svdrift-runs", "locks"  # below Snakemake's own folder
SPIN = {"GOMP_SPINCOUNT": "1000"}  # of GNU's OpenMP, with which PyTorch computes
VARIABLE = "SVDRIFT_RUN"  # in the environment of all processes of a run: its id
PATIENCE_S = 120.0  # for processes that were told to end; training saves a snapshot
LOCAL, SLURM = "local", "slurm"


class Run:
    """What a Snakemake has noted of itself.

    Attributes:
        file: of the note, whose name is the run's id.
        process: the one that runs the workflow.
        user: whose it is.
        executor: where its jobs run, as Snakemake calls it.
        log: Snakemake's, or empty.
        locks: its files in the folder of Snakemake's locks, with their inodes and times of change;
            None before it has them.
        scratch: a folder of its own elsewhere, or empty.
    """

    def __init__(self, file: Path, process: Process, *, executor: str, log: str) -> None:
        self.file, self.process, self.user = file, process, os.getuid()
        self.executor, self.log, self.scratch = executor, log, ""
        self.locks: dict[str, list[int]] | None = None

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """From its file; None if that is gone or was not written to the end."""
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            process = Process.read(said["process"])
            if process is None:
                return None
            run = cls(file, process, executor=str(said["executor"]), log=str(said["log"]))
            run.user, run.scratch, run.locks = (
                int(said["user"]),
                str(said["scratch"]),
                said["locks"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return run

    def note(
        self, *, locks: Iterable[str | Path] | None = None, scratch: Path | None = None
    ) -> None:
        """Add to the file what it has now: locks of Snakemake, a folder elsewhere."""
        if locks is not None:
            self.locks = {Path(path).name: _stamp(Path(path)) for path in locks}
        if scratch is not None:
            self.scratch = str(scratch)
        said = {**vars(self), "process": self.process._asdict()}
        del said["file"]
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(said), encoding="utf-8")
        partial.replace(self.file)

    def lives(self) -> bool | None:
        """Whether its process lives; None if that cannot be known from here."""
        with suppress(OSError), self.file.with_suffix(".held").open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # on a shared file system this is known of other machines too
                return True
        lives = self.process.lives()
        # Another user's processes cannot be looked at.
        return None if lives is False and os.getuid() not in (0, self.user) else lives

    def remove(self) -> None:
        """Take the note away."""
        for suffix in (".json", ".partial", ".held"):
            self.file.with_suffix(suffix).unlink(missing_ok=True)


@contextmanager
def noted(folder: Path, *, executor: str = LOCAL, log: str = "") -> Iterator[Run]:
    """Say in Snakemake's `folder` that this process is at work there, until the block ends."""
    notes = folder / NOTES
    notes.mkdir(parents=True, exist_ok=True)
    run = Run(notes / f"{uuid.uuid4().hex}.json", Process.current(), executor=executor, log=log)
    with run.file.with_suffix(".held").open("w") as held:
        with suppress(OSError):  # not every file system can
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        run.note()
        os.environ[VARIABLE] = run.file.stem
        try:
            yield run
        finally:
            os.environ.pop(VARIABLE, None)
            run.remove()


def runs(folder: Path) -> list[Run]:
    """All that have noted themselves in Snakemake's `folder`, and not taken it back."""
    found = map(Run.read, sorted((folder / NOTES).glob("*.json")))
    return [run for run in found if run is not None]


def at_work(folder: Path) -> str | None:
    """Who is at work in `folder`, or may be, and what to do; None if nobody is."""
    found = {run: run.lives() for run in runs(folder)}
    names = [str(run.process) for run, lives in found.items() if lives]
    unsure = [str(run.process) for run, lives in found.items() if lives is None]
    if names:
        return f"a Snakemake is at work here ({', '.join(names)}); wait or end that one first"
    if unsure:
        return (
            f"a Snakemake may be at work here ({', '.join(unsure)}), unseen from this "
            "machine; go on there, or if you know that it has ended: snakemake --unlock"
        )
    return None


def release(folder: Path, say: Callable[[str], None]) -> None:
    """Release what Snakemakes that were killed have left in `folder`.

    Args:
        say: is given a line about each.

    Raises:
        UserError: jobs of one of them are still at work, or may be.
    """
    found = runs(folder)
    dead = [run for run in found if run.lives() is False]
    living = [run for run in found if run not in dead]
    for run in dead:
        _require_no_jobs(run)
        _end_processes(run, say)
        if run.scratch:
            shutil.rmtree(run.scratch, ignore_errors=True)
        # One that was killed while it locked has not noted its locks: where nobody else is at
        # work, they are those that nobody has noted.
        own = run.locks if run.locks is not None else {} if living else _unclaimed(folder, found)
        for name, stamp in own.items():
            path = folder / LOCKS / name
            with suppress(FileNotFoundError):
                if _stamp(path) == stamp:  # not another's that has the name now
                    path.unlink()
        run.remove()
        say(f"released the lock of {run.process}, which was killed: its study goes on")


def forget(folder: Path) -> None:
    """Take the notes of those away who are not known to live, as `snakemake --unlock` wants."""
    for run in runs(folder):
        if not run.lives():
            run.remove()


def _unclaimed(folder: Path, found: Iterable[Run]) -> dict[str, list[int]]:
    claimed = [stamp for run in found for stamp in (run.locks or {}).values()]
    stamps = {path.name: _stamp(path) for path in (folder / LOCKS).glob("*.lock")}
    return {name: stamp for name, stamp in stamps.items() if stamp not in claimed}


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_ino, found.st_mtime_ns]


def _require_no_jobs(run: Run) -> None:
    if run.executor == LOCAL:
        return
    if run.executor != SLURM:
        raise UserError(
            f"{run.process} was killed, and whether its jobs ({run.executor}) are still at work "
            "cannot be seen from here; when they have ended: snakemake --unlock"
        )
    if jobs := jobs_of(run_ids([Path(run.log)])):
        raise UserError(
            f"{run.process} was killed, and {len(jobs)} of its Slurm jobs go on ({jobs[0]}, …): "
            f"wait until they have ended and {AGAIN}, or cancel them and go on from their "
            "snapshots: make resume"
        )


def _end_processes(run: Run, say: Callable[[str], None]) -> None:
    """End what a dead run has started on this machine and what goes on without it.

    Raises:
        UserError: a process does not end.
    """
    left = set(_processes(run))
    if not left:
        return
    say(f"ends {len(left)} processes that go on without {run.process}, which was killed")
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    until = time.monotonic() + PATIENCE_S
    while left:
        if time.monotonic() > until:
            pids = " ".join(str(process.pid) for process in left)
            raise UserError(
                f"processes of {run.process}, which was killed, do not end; end them "
                f"(kill -9 {pids}) and {AGAIN}"
            )
        _, alive = psutil.wait_procs(list(left), timeout=0.5)
        # One that is ending has lost its environment before it lets go of its files.
        left = {process for process in alive if not _ended(process)} | set(_processes(run))


def _processes(run: Run) -> list[psutil.Process]:
    """Processes that have the run's id in their environment."""
    found = psutil.process_iter(["environ"])
    return [
        process
        for process in found
        if (process.info["environ"] or {}).get(VARIABLE) == run.file.stem and not _ended(process)
    ]


def _ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def spin_briefly() -> None:
    """Let threads of all jobs sleep soon where they wait for each other, unless one says otherwise.

    By default they spin for long first, many times a step of training. On cores that others use,
    too, the one that they wait for cannot run meanwhile, and two threads take seventy times as
    long as one (docs/performance.md).
    """
    for name, turns in SPIN.items():
        os.environ.setdefault(name, turns)


def interrupt_on_hangup() -> None:
    """Let the end of the terminal end this process as Ctrl-C does, unless nohup keeps it."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> Any:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a shell sends it once more
    # Without a shell in between, the kernel sends it to this process alone.
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(child.pid) == os.getpgrp():
                child.send_signal(signal.SIGHUP)
    raise KeyboardInterrupt
