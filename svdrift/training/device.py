"""Where a training job computes."""

from __future__ import annotations

import torch
from accelerate.utils import parse_flag_from_env


def on_gpu() -> bool:
    """Whether to use a GPU: there is one, and `accelerate launch` was not told to use the CPU."""
    return torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
