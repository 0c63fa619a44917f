"""Whether a process that left something behind, perhaps on another machine, is still alive.

A process id alone does not say: it is used again, and means another process on another machine.

Importing this module is quick: it loads neither torch nor pandas.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

PROC = Path("/proc")
DEAD_STATES = "ZXx"  # of /proc/PID/stat: ended, and nobody has asked how


class Process(NamedTuple):
    """A process, told from every other one.

    Attributes:
        host: name of its machine.
        machine: the machine's id, which a restart does not change; empty where it has none.
        boot: id of the machine's start.
        namespace: in which its id counts; containers have their own.
        pid: its id.
        start: when it started, in ticks since the machine did: exact, whatever clocks do.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    start: int

    @classmethod
    def current(cls) -> Self:
        """This process."""
        return cls(*_here(), os.getpid(), _start(os.getpid()) or 0)

    @classmethod
    def read(cls, fields: object) -> Self | None:
        """From the mapping `_asdict` gives, after JSON; None if it is no such mapping."""
        if not isinstance(fields, Mapping) or set(fields) != set(cls._fields):
            return None
        kinds: dict[str, Any] = dict.fromkeys(cls._fields, str) | {"pid": int, "start": int}
        if not all(type(fields[name]) is kind for name, kind in kinds.items()):
            return None
        return cls(**fields)

    def lives(self) -> bool | None:
        """Whether it lives; None if that cannot be known from here.

        It can be known of processes of this machine alone, and on Linux, which has /proc. Those of
        a container are seen from the same container alone.
        """
        here = _here()
        if (self.host, self.machine) != here[:2] or not self.boot or not here[2]:
            return None
        if self.boot != here[2]:
            return False  # the machine has started again
        if self.namespace != here[3]:
            return None
        return _start(self.pid) == self.start

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _here() -> tuple[str, str, str, str]:
    namespace = ""
    with suppress(OSError):
        namespace = os.readlink(PROC / "self/ns/pid")
    return (
        socket.gethostname(),
        _line(Path("/etc/machine-id")),
        _line(PROC / "sys/kernel/random/boot_id"),
        namespace,
    )


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _start(pid: int) -> int | None:
    """When a process started (proc(5), field 22 of stat); None if it has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # a name may hold blanks and brackets
    return None if state in DEAD_STATES else int(fields[18])
