"""Which process runs the workflow in a folder, so that nobody unlocks it under its hands.

Snakemake's own lock stays when it is killed, and does not say who holds it. This one goes with the
process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TextIO

NAME = "svdrift-running"


def hold(folder: Path) -> TextIO:
    """Say that this process is at work in `folder`, for as long as the returned file is open.

    Where another one says so already (`snakemake --nolock`), it stays with that one.
    """
    file = (folder / NAME).open("a+", encoding="utf-8")
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    return file


def holder(folder: Path) -> str | None:
    """Who is at work in `folder`, such as "process 7 on login1"; None if nobody is."""
    try:
        file = (folder / NAME).open("r+", encoding="utf-8")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read()
    return None
