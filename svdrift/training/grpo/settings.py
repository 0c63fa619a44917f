"""GRPO: what the workflow knows of it, and its settings."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from svdrift.training.method import Budget, FineTuningSettings, Method, MethodSettings

METHOD = Method(
    label="GRPO",
    tables=("metrics",),
    unit="update",
    plays=True,
    sharding=frozenset({"none", "fsdp2", "zero2"}),
    runtime=120,
)

MATCHED = (
    "updates",
    "episodes",
    "epochs",
    "minibatch_size",
    "learning_rate",
    "tries",
    "temperature",
)
"""What is copied from a stage of another RL method."""


class Settings(FineTuningSettings):
    """Group relative policy optimisation (Shao et al. 2024), the comparison method to PPO."""

    UNTRACKED = frozenset({"micro_batch_size", "gradient_checkpointing"})

    tries: int = Field(1, ge=1, le=5, description="Tries per episode during training.")
    updates: int = Field(60, gt=0, le=10**7, description="Rollout-and-update rounds.")
    episodes: int = Field(
        128, gt=0, le=2**20, description="Episodes per update, over all processes."
    )
    group_size: int = Field(
        8,
        gt=1,
        le=2**20,
        description="Episodes on one hand; a reward counts relative to its group's.",
    )
    epochs: int = Field(2, gt=0, le=10_000, description="Passes over each update's episodes.")
    minibatch_size: int = Field(
        128, gt=0, le=2**20, description="Episodes per optimizer step, over all processes."
    )
    micro_batch_size: int = Field(
        32, gt=0, le=2**20, description="Episodes per forward pass and process; bounds memory only."
    )
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Adam's learning rate.")
    clip: float = Field(0.1, gt=0, description="Ratios of tokens are clipped to 1 -+ this.")
    kl_coefficient: float = Field(
        0.0, ge=0, description="Weight of the KL penalty to the start (k3 estimator)."
    )
    temperature: float = Field(
        1.0, gt=0, le=100, description="Sampling temperature, also inside the log-probabilities."
    )
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm is clipped to this.")
    permute_rewards: bool = Field(
        False,
        description="Permute the rewards among the episodes of each update, as a null: RL without "
        "a signal. Metrics tell the true rewards.",
    )
    gradient_checkpointing: bool = Field(False, description="Trade time for memory (GPU).")

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        for key in ("group_size", "minibatch_size"):
            if self.episodes % getattr(self, key):
                raise ValueError(
                    f"{key}: {getattr(self, key)} does not divide episodes {self.episodes}"
                )
        return self

    @property
    def total(self) -> int:
        """Number of updates."""
        return self.updates

    @property
    def steps_per_update(self) -> int:
        """Optimizer steps of an update."""
        return self.epochs * self.episodes // self.minibatch_size

    @property
    def summary(self) -> str:
        """What a run does, in a few words."""
        return (
            f"{self.updates} updates of {self.episodes} episodes at {self.learning_rate:g}"
            f"{self.by_lora}"
        )

    @property
    def budget(self) -> Budget:
        """As many samples and optimizer steps, at the same learning rate."""
        return Budget(
            steps=self.updates * self.steps_per_update,
            batch_size=self.minibatch_size,
            learning_rate=self.learning_rate,
            decays=False,
            freeze_embeddings=self.freeze_embeddings,
            lora=self.lora,
        )

    def check_processes(self, processes: int) -> None:
        """See the base class: a control of SFT shares its minibatches out too."""
        if self.minibatch_size % processes:
            raise ValueError(
                f"minibatch_size: {self.minibatch_size} is not divisible by {processes}"
            )

    @classmethod
    def matching(cls, other: MethodSettings) -> dict[str, Any]:
        """All of a stage of this method but its null; what both have of another RL method."""
        shared = other.model_dump(exclude={*other.UNTRACKED, "permute_rewards"})
        if isinstance(other, cls):
            return shared
        found = {key: shared[key] for key in MATCHED if key in shared}
        if len(found) < len(MATCHED):
            raise ValueError("GRPO can match stages of reinforcement learning alone")
        return found | {"lora": shared.get("lora")}
