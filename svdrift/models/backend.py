"""Which program writes replies: our own batched one, or vLLM.

Importing this module is quick, because the Snakefile does it on every start.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from svdrift.errors import UserError
from svdrift.models.settings import GenerationSettings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# Modules beyond those that a script imports, which decide what it generates.
MODULES = {"batched": (), "vllm": ("svdrift/models/vllm_backend.py",)}


def versions(settings: GenerationSettings) -> str:
    """Version of the program that writes, which no import statement names; empty for our own."""
    return f"vllm {version('vllm')}" if settings.backend == "vllm" else ""


class Generate(Protocol):
    """Continue prompts, as `svdrift.models.generation.generate` does."""

    def __call__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Collection[int],
        pad_id: int,
        temperature: float = 0.0,
        uniforms: Tensor | None = None,
        batch_size: int = 256,
    ) -> list[list[int]]:
        """See `svdrift.models.generation.generate`."""


def require_installed(settings: GenerationSettings) -> None:
    """Refuse a backend whose package the environment does not bring.

    Raises:
        UserError: vLLM is asked for and not installed.
    """
    if settings.backend == "vllm" and importlib.util.find_spec("vllm") is None:
        raise UserError(
            "generation.backend: 'vllm' needs the package vllm, which is not installed "
            "(allowed without it: 'batched')"
        )


def make_generate(settings: GenerationSettings, folder: Path) -> Generate:
    """The chosen backend, for models of the architecture and tokenizer of a model folder.

    Raises:
        UserError: it is not installed, or there is no GPU for it.
    """
    require_installed(settings)
    if settings.backend == "vllm":
        # By its name: svdrift.tracking follows statements, and not every stage depends on vLLM.
        module = importlib.import_module("svdrift.models.vllm_backend")
        return cast("Generate", module.VLLM(folder, settings))
    from svdrift.models.generation import generate

    return generate
