"""Memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD = -3  # malloc.h of glibc
LARGE = 2**20  # bytes


def return_freed_memory() -> None:
    """Let glibc return each large block when it is freed; nothing happens without glibc.

    By itself it keeps blocks of up to 32 MB, the size of most matrices here, for reuse. They
    scatter, and a process that holds one matrix at a time grows to several times that.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE)
