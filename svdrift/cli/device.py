"""The argument `--device` of commands that compute."""

from __future__ import annotations

import argparse

import torch

from svdrift.errors import UserError


def device_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--device`, a device that PyTorch can use here.

    Raises (when parsing): UserError if it cannot.
    """
    parser.add_argument(
        "--device",
        type=_usable,
        default="cpu",
        help="where to compute, such as cuda (default: cpu)",
    )


def _usable(text: str) -> str:
    try:
        torch.zeros(1, device=text).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device: {text!r} cannot be used here: {error}") from None
    return text
