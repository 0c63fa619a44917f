"""Pretraining: what the workflow knows of it, and its settings."""

from __future__ import annotations

from pydantic import Field

from svdrift.models.settings import ArchitectureSettings
from svdrift.training.method import Method, MethodSettings

METHOD = Method(
    label="pretraining",
    tables=("losses",),
    learns_from="skills",
    starts=False,
    launched=False,
)


class Settings(MethodSettings):
    """Pretraining of the tiny model on the skills of the task, not on their composition."""

    steps: int = Field(2000, gt=0, le=10**7, description="Optimizer steps.")
    batch_size: int = Field(64, gt=0, le=2**20, description="Sequences per step.")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak of AdamW's cosine schedule.")
    warmup_steps: int = Field(50, ge=0, le=10**7, description="Steps of linear warm-up.")
    architecture: ArchitectureSettings = Field(
        ArchitectureSettings(), description="Shape of the model."
    )

    @property
    def total(self) -> int:
        """See the base class: the model is made in one go."""
        return 0

    @property
    def threads(self) -> int:
        """Two threads gain most of what there is to gain on a model of this size."""
        return 2

    @property
    def summary(self) -> str:
        """What a run does, in a few words."""
        shape = self.architecture
        return (
            f"a tiny Llama of width {shape.hidden_size} with {shape.layers} layers, {self.steps} "
            f"steps of {self.batch_size} at {self.learning_rate:g}"
        )
