"""SFT: what the workflow knows of it, and its settings."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from svdrift.section import Section
from svdrift.training.method import Budget, FineTuningSettings, Method, MethodSettings
from svdrift.training.sft.loss_settings import Loss, NLLSettings, RPSFTSettings

METHOD = Method(
    label="SFT",
    tables=("losses", "examples"),
    sharding=frozenset({"none", "fsdp2", "zero2", "zero3"}),
)


class EarlyStoppingSettings(Section):
    """When SFT ends before its last step: by the accuracy of greedy first tries.

    It is measured at each kept step, on the task's ID problems for selection. When it has not risen
    for `patience` kept steps, training ends, and all later kept steps hold the best checkpoint.
    Here alone the kept steps decide a result: another list of them trains anew.
    """

    patience: int = Field(gt=0, le=10_000, description="Kept steps without a rise.")


class Settings(FineTuningSettings):
    """Supervised fine-tuning on expert replies."""

    UNTRACKED = frozenset({"micro_batch_size", "gradient_checkpointing"})

    steps: int = Field(256, gt=0, le=10**7, description="Optimizer steps.")
    batch_size: int = Field(
        64, gt=0, le=2**20, description="Sequences per step, over all processes."
    )
    micro_batch_size: int = Field(
        64,
        gt=0,
        le=2**20,
        description="Sequences per forward pass and process; bounds memory only.",
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Peak learning rate of AdamW.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate after warm-up: `constant` or `cosine`."
    )
    warmup_steps: int = Field(
        20,
        ge=0,
        le=10**7,
        description="Steps of linear warm-up; a run of fewer steps ends below the peak rate.",
    )
    gradient_checkpointing: bool = Field(False, description="Trade time for memory (GPU).")
    loss: Loss = Field(NLLSettings(), description="By its `kind`; see below.")
    max_length: int = Field(1024, gt=0, le=2**20, description="Longest prompt and reply in tokens.")
    average_weights: bool = Field(
        False,
        description="Keep, at each kept step, the mean of the weights after every step so far "
        "(SWA, arXiv 1803.05407, from the first step on) in place of the last ones.",
    )
    early_stopping: EarlyStoppingSettings | None = Field(
        None,
        description="Ends training when the accuracy on ID problems for selection has not risen "
        "for some kept steps, as `{patience: 2}`; none trains all steps.",
    )

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size: {self.micro_batch_size} does not divide "
                f"batch_size {self.batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _loss_fits(self) -> Self:
        if self.loss.whole_batch and self.micro_batch_size != self.batch_size:
            raise ValueError(
                f"micro_batch_size: {self.micro_batch_size} is a part of batch_size "
                f"{self.batch_size}, and the loss looks at a whole step (allowed: "
                f"{self.batch_size})"
            )
        if isinstance(self.loss, RPSFTSettings) and self.lora is not None:
            raise ValueError("lora: adapters have no weights whose change 'rpsft' could penalise")
        return self

    @model_validator(mode="after")
    def _average_fits(self) -> Self:
        for other in ("lora", "early_stopping"):
            if self.average_weights and getattr(self, other) is not None:
                raise ValueError(
                    f"average_weights: not with {other}, which knows the last weights alone"
                )
        return self

    @property
    def reads_expert(self) -> bool:
        """Whether the loss asks how likely each demonstration was to the expert who wrote it."""
        return self.loss.READS_EXPERT

    @property
    def total(self) -> int:
        """Number of optimizer steps."""
        return self.steps

    @property
    def summary(self) -> str:
        """What a run does, in a few words."""
        by_loss = "" if self.loss == NLLSettings() else f", loss {self.loss.kind}"
        return (
            f"{self.steps} steps of {self.batch_size} at {self.learning_rate:g}{by_loss}"
            f"{', weights averaged' if self.average_weights else ''}{self.by_lora}"
        )

    @property
    def reads_selection(self) -> bool:
        """See the base class."""
        return self.early_stopping is not None

    @property
    def budget(self) -> Budget | None:
        """Its own counts, batch and learning rate; none where training may end early."""
        if self.early_stopping is not None:
            return None
        return Budget(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            decays=self.schedule == "cosine",
            freeze_embeddings=self.freeze_embeddings,
            lora=self.lora,
        )

    def check_processes(self, processes: int) -> None:
        """See the base class."""
        if self.batch_size % processes:
            raise ValueError(f"batch_size: {self.batch_size} is not divisible by {processes}")
        if self.average_weights and processes > 1:
            raise ValueError(
                f"average_weights: averages in one process, not {processes} (allowed: "
                "compute.processes 1)"
            )
        one = self.loss.whole_batch or isinstance(self.loss, RPSFTSettings)
        if one and processes > 1:
            raise ValueError(
                f"loss: '{self.loss.kind}' as it is set looks at a whole step or at whole weights, "
                f"in one process, not {processes} (allowed: compute.processes 1)"
            )

    @classmethod
    def matching(cls, other: MethodSettings) -> dict[str, Any]:
        """Counts, batch, learning rate and what is trained, with no warm-up; not the loss."""
        budget = other.budget
        if budget is None:
            raise ValueError("it has no samples or steps that could be matched")
        return {
            "steps": budget.steps,
            "batch_size": budget.batch_size,
            "micro_batch_size": math.gcd(
                budget.batch_size, cls.model_fields["micro_batch_size"].default
            ),
            "learning_rate": budget.learning_rate,
            "schedule": "cosine" if budget.decays else "constant",
            "warmup_steps": 0,
            "freeze_embeddings": budget.freeze_embeddings,
            "lora": budget.lora,
        }
