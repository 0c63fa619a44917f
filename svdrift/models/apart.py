"""Work on a foreign model in a process apart, with limits of time and memory.

A damaged configuration, GGUF file or chat template can make the libraries that read it run without
end, take all memory, or fail in a way of their own. Here each of these is one line.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import psutil
import torch

from svdrift.errors import UserError
from svdrift.models.folders import one_line

ROOM = 4 * 2**30  # bytes of memory beside what this process has


def try_apart(
    said: Path, what: str, work: Callable[[], object], *, seconds: float, room: int = ROOM
) -> None:
    """Let `work` run once in a fork of this process, which it cannot change.

    Args:
        said: file or folder that errors name.
        what: has gone wrong if it fails, such as "describes no model that can be built".
        work: to be tried.
        seconds: that it may take.
        room: bytes of memory that it may take more than this process has.

    Raises:
        UserError: that `work` raises, or saying how it failed or which limit it exceeded.
    """
    with tempfile.TemporaryFile() as refusal:
        process = multiprocessing.get_context("fork").Process(
            target=_within, args=(work, f"{said}: {what}", refusal, room)
        )
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise UserError(f"{said}: {what}: not done within {seconds:g} s")
        refusal.seek(0)
        if text := refusal.read().decode():
            raise UserError(text)
        if status := process.exitcode:
            ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            raise UserError(f"{said}: {what}: the process that tried ended with {ended}")


def _within(work: Callable[[], object], begin: str, refusal: BinaryIO, room: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what libraries print comes again from who goes on
        os.dup2(nowhere, stream)
    torch.set_num_threads(1)  # a fork has no threads that others could wait for
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + room
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    try:
        work()
    except UserError as error:
        text = str(error)
    except MemoryError:
        text = f"{begin}: it takes more than {room / 2**30:.0f} GB of memory"
    except Exception as error:  # whatever a library makes of what it was not written for
        text = f"{begin}: {type(error).__name__}: {one_line(error)}"
    else:
        return
    refusal.write(text.encode(errors="replace"))
    refusal.flush()
