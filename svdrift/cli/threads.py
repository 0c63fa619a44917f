"""How many threads a command computes with.

Two threads take two thirds of the time on idle cores; on cores that others use they wait for each
other: `svdrift compare` of a 135M model reached 7 of 210 matrices in 6 minutes with two,
where one needs some 3 for all (docs/command-line.md).
"""

from __future__ import annotations

import argparse
import os
import sys

from svdrift.errors import UserError


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
