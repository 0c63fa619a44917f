"""Folders of small checkpoints, and the command run in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from svdrift.cli import main
from tests.spectra.synthetic import llama


def trained(seed: int = 0, *, tied: bool = False) -> LlamaForCausalLM:
    """A Llama with a strong direction in each matrix, as training leaves it."""
    model = llama(seed, tied=tied)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.add_(torch.ones(len(parameter), 1) @ parameter[:1] * 2)
    return model


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `svdrift ARGUMENTS...`; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["svdrift", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its contents."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
