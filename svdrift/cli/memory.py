"""Whether memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGE = 2**20  # bytes
KEPT = 2**28


def return_freed_memory() -> None:
    """Let glibc return each large block when it is freed; nothing happens without glibc.

    By itself it keeps blocks of up to 32 MB, the size of most matrices here, for reuse. They
    scatter, and a process that holds one matrix at a time grows to several times that.
    """
    _mallopt(M_MMAP_THRESHOLD, LARGE)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks after all, for many small matrices, and those forked from here.

    Pages that come and go with each of them take a third of the time.
    """
    _mallopt(M_MMAP_THRESHOLD, KEPT)
    _mallopt(M_TRIM_THRESHOLD, KEPT)


def _mallopt(parameter: int, value: int) -> None:
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(parameter, value)
