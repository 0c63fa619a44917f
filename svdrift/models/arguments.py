"""The argument that sets the type in which models are saved, evaluated and repaired."""

from __future__ import annotations

import argparse
from typing import get_args

import torch

from svdrift.models.settings import Dtype

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(Dtype)}


def dtype_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--dtype`, whose parsed value is a key of `DTYPES`."""
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="in which the model plays, or is saved; training keeps float32 (default: float32)",
    )
