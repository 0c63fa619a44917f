"""Where a training job computes, and in what."""

from __future__ import annotations

import torch
from accelerate.utils import parse_flag_from_env


def on_gpu() -> bool:
    """Whether to use a GPU: there is one, and `accelerate launch` was not told to use the CPU."""
    return torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")


def in_bfloat16(dtype: torch.dtype) -> bool:
    """Whether training's forward passes compute in bfloat16, from float32 weights.

    On a GPU they always do; on a CPU if checkpoints are kept in bfloat16 (`dtype`).
    """
    return on_gpu() or dtype == torch.bfloat16
