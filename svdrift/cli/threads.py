"""How many threads a command computes with.

Two threads take two thirds of the time on idle cores; on cores that others use they wait for each
other: two took more than three times as long as one (docs/command-line.md). Two processes of one
thread each, side by side on matrices of their own, wait for nothing: `svdrift compare` has those.
"""

from __future__ import annotations

import argparse
import os
import sys

from svdrift.errors import UserError

SIDE_BY_SIDE = 2  # processes that are used unasked


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def threads_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--threads`, which `use_threads` takes."""
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads; more than 1 gain only on cores that nobody else uses (default: 1)",
    )


def side_by_side_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--threads` of a command that works on small matrices side by side; None if not given."""
    parser.add_argument(
        "--threads",
        type=int,
        help="cores: as many processes of one thread each, or threads of one process where "
        f"matrices are large (default: {SIDE_BY_SIDE} processes, if there are as many cores, or "
        "1 thread)",
    )


def use_threads(threads: int) -> None:
    """Let PyTorch compute with so many threads.

    Raises:
        UserError: fewer than 1, or more than there are cores.
    """
    import torch

    if not 1 <= threads <= cores():
        raise UserError(
            f"--threads: from 1 to {cores()}, the cores that this process may use, not {threads}"
        )
    torch.set_num_threads(threads)
