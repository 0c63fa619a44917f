"""The type and shape of models, and how they generate replies."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from svdrift.section import Section

LARGEST_TINY = 10**9
"""Parameters; a larger model is imported and not trained from nothing."""


class ArchitectureSettings(Section):
    """Shape of the tiny Llama that a study trains from nothing."""

    hidden_size: int = Field(96, gt=0, description="Width of the residual stream.")
    layers: int = Field(4, gt=0, description="Number of transformer layers.")
    heads: int = Field(4, gt=0, description="Attention heads.")
    intermediate_size: int = Field(256, gt=0, description="Width of the MLP.")
    positions: int = Field(256, gt=0, le=2**20, description="Longest sequence in tokens.")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide hidden_size {self.hidden_size}")
        if self.hidden_size // self.heads % 2:
            raise ValueError(
                f"heads: {self.heads} of hidden_size {self.hidden_size} are of width "
                f"{self.hidden_size // self.heads}, which rotary positions need to be even"
            )
        return self

    @model_validator(mode="after")
    def _tiny(self) -> Self:
        width = self.hidden_size
        parameters = self.layers * width * (4 * width + 3 * self.intermediate_size)
        if parameters > LARGEST_TINY:
            raise ValueError(
                f"hidden_size: {width} with layers {self.layers} and intermediate_size "
                f"{self.intermediate_size} makes {parameters:.0e} parameters, whose training takes "
                f"{16 * parameters / 1e9:,.0f} GB (allowed: {LARGEST_TINY:.0e} parameters)"
            )
        return self


Dtype = Literal["float32", "bfloat16"]


class ModelSettings(Section):
    """What all models of a study have in common."""

    dtype: Dtype = Field(
        "float32",
        description="Type in which checkpoints are saved, and models evaluated and repaired. "
        "Training keeps float32 weights and starts from the rounded checkpoint; its forward passes "
        "compute in `bfloat16` on a GPU always, on a CPU with this. Every save rounds to nearest. "
        "Spectra and repairs are computed in float32.",
    )


class GenerationSettings(Section):
    """Which program generates replies, in evaluation and in RL."""

    UNTRACKED = frozenset({"gpu_memory", "max_length"})

    backend: Literal["batched", "vllm"] = Field(
        "batched",
        description="`batched`: our own, on any device. `vllm`: vLLM, on one GPU, if it is "
        "installed (docs/accelerate.md); not run with the real one yet.",
    )
    gpu_memory: float = Field(
        0.3, gt=0, lt=1, description="Share of the GPU's memory that vLLM may take."
    )
    max_length: int = Field(
        4096,
        gt=0,
        le=2**24,
        description="Longest prompt and reply in tokens that vLLM makes room for; a longer one is "
        "refused.",
    )
