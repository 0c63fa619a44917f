"""GRPO: what the workflow knows of it, and its settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from svdrift.section import Section
from svdrift.training.method import (
    Budget,
    FineTuningSettings,
    Method,
    MethodSettings,
    Quarters,
    Work,
)

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]

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


class SamplerSettings(Section):
    """Which of an update's episodes train (Shuffle-R1, arXiv 2508.05612, and its controls)."""

    select: Literal["random", "mixed_groups", "top", "pairs"] = Field(
        "pairs",
        description="`random`, any; `mixed_groups`, from groups whose rewards differ, each as "
        "often as the others but for one time; `top`, those of any group with the largest absolute "
        "advantages; `pairs`, the best of each group with its worst, the second best with the "
        "second worst, and so on until there are enough.",
    )
    count: int = Field(
        64, gt=0, le=2**20, description="Episodes of an update that train, over all processes."
    )
    rounds: int | None = Field(
        None,
        gt=0,
        le=2**20,
        description="Rounds in which as many pairs are drawn again, in proportion to the sum of "
        "their absolute advantages, in each round without replacement; none trains each pair "
        "once. Pairs only.",
    )

    @model_validator(mode="after")
    def _rounds_of_pairs(self) -> Self:
        if self.rounds is not None and self.select != "pairs":
            raise ValueError(f"rounds: draws pairs, and select is '{self.select}'")
        if self.rounds is not None and self.count // 2 % self.rounds:
            raise ValueError(f"rounds: {self.rounds} does not divide {self.count // 2} pairs")
        return self


class GuidanceSettings(Section):
    """Beginnings of the gold reply for groups that fail (TRAPO, arXiv 2512.17636)."""

    rollouts: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        (4, 2, 1, 1),
        min_length=2,
        description="Episodes of each micro-group; together `group_size`. They play in turn.",
    )
    shares: tuple[Share, ...] = Field(
        (0.0, 0.2, 0.5, 1.0),
        description="Of the gold reply, what each micro-group begins with where it is needed; the "
        "first is given nothing.",
    )
    below: tuple[Share, ...] = Field(
        (0.0, 0.5, 0.7, 0.9),
        description="It is needed where a smaller share of the problem's episodes was solved so "
        "far; 0 is never, as it must be first.",
    )
    after: str | None = Field(
        None,
        min_length=1,
        description="Shares count what follows this text in the gold reply, and the text before "
        "goes with them (':' keeps to the formula in the compact game); null counts all of it.",
    )
    loss: Literal["none", "nll", "scaled_nll", "trsft"] = Field(
        "trsft",
        description="Of the tokens that are given, added to GRPO's, as a sum over tokens like it. "
        "`scaled_nll` is a control: plain, times what makes its gradients as large as TrSFT's.",
    )
    alpha: float = Field(0.1, gt=0, le=1, description="TrSFT's probability; see the loss of SFT.")

    @property
    def whole_step(self) -> bool:
        """Whether the loss of a token depends on the others of its optimizer step."""
        return self.loss == "scaled_nll"

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for key in ("shares", "below"):
            values = getattr(self, key)
            if len(values) != len(self.rollouts):
                raise ValueError(
                    f"{key}: has {len(values)} values for {len(self.rollouts)} rollouts"
                )
            if values[0] != 0:
                raise ValueError(f"{key}: begins with {values[0]:g} (allowed: 0, nothing given)")
        return self


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
    prefix_quarters: Quarters = Field(
        (0,),
        min_length=1,
        description="Quarters of the gold reply with which a reply begins, drawn for each group; "
        "`[0]` gives none. Given tokens carry no loss, and the whole reply is verified.",
    )
    sampler: SamplerSettings | None = Field(
        None,
        description="Which of an update's episodes train, as a mapping; none to train all. "
        "Advantages compare with all of a group.",
    )
    guidance: GuidanceSettings | None = Field(
        None,
        description="Beginnings of gold replies for groups that fail, as a mapping; none for none.",
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

    @model_validator(mode="after")
    def _sampler_divides(self) -> Self:
        if self.sampler is None:
            return self
        count, groups = self.sampler.count, self.episodes // self.group_size
        if self.episodes % count:
            raise ValueError(f"sampler.count: {count} does not divide episodes {self.episodes}")
        if count % self.minibatch_size:
            raise ValueError(
                f"minibatch_size: {self.minibatch_size} does not divide sampler.count {count}"
            )
        if self.sampler.select == "pairs" and self.group_size % 2:
            raise ValueError(f"group_size: {self.group_size} is odd, and sampler.select is 'pairs'")
        if self.sampler.select == "pairs" and count % (2 * groups):
            raise ValueError(
                f"sampler.count: {count} does not give {groups} groups equally many pairs"
            )
        return self

    @model_validator(mode="after")
    def _guidance_fits(self) -> Self:
        if self.guidance is None:
            return self
        if (total := sum(self.guidance.rollouts)) != self.group_size:
            raise ValueError(
                f"guidance.rollouts: add up to {total}, and group_size is {self.group_size}"
            )
        if self.guidance.whole_step and self.micro_batch_size != self.minibatch_size:
            raise ValueError(
                f"micro_batch_size: {self.micro_batch_size} is a part of minibatch_size "
                f"{self.minibatch_size}, and guidance.loss 'scaled_nll' looks at a whole step "
                f"(allowed: {self.minibatch_size})"
            )
        for key, excluded in (
            ("sampler", self.sampler is not None),
            ("prefix_quarters", any(self.prefix_quarters)),
            ("permute_rewards", self.permute_rewards),
        ):
            if excluded:
                raise ValueError(f"{key}: does not go with guidance")
        return self

    @property
    def trained(self) -> int:
        """Episodes of an update that train."""
        return self.episodes if self.sampler is None else self.sampler.count

    @property
    def total(self) -> int:
        """Number of updates."""
        return self.updates

    @property
    def steps_per_update(self) -> int:
        """Optimizer steps of an update."""
        return self.epochs * self.trained // self.minibatch_size

    @property
    def summary(self) -> str:
        """What a run does, in a few words."""
        unusual = [
            *(["with begun replies"] if any(self.prefix_quarters) else []),
            *(["with permuted rewards"] if self.permute_rewards else []),
            *([f"on {self.trained} of them ({self.sampler.select})"] if self.sampler else []),
            *([f"with guidance (loss {self.guidance.loss})"] if self.guidance else []),
        ]
        return (
            f"{self.updates} updates of {self.episodes} episodes at {self.learning_rate:g}"
            f"{''.join(f', {one}' for one in unusual)}{self.by_lora}"
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

    @property
    def work(self) -> Work:
        """See the base class; of the episodes that are played, some train."""
        return replace(super().work, samples=self.updates * self.epochs * self.trained)

    def check_processes(self, processes: int) -> None:
        """See the base class: a control of SFT shares its minibatches out too."""
        if self.minibatch_size % processes:
            raise ValueError(
                f"minibatch_size: {self.minibatch_size} is not divisible by {processes}"
            )
        if self.guidance is not None and self.guidance.whole_step and processes > 1:
            raise ValueError(
                f"guidance.loss: 'scaled_nll' looks at a whole step, in one process, not "
                f"{processes} (allowed: compute.processes 1)"
            )
        if self.guidance is not None and self.episodes // self.group_size % processes:
            raise ValueError(
                f"guidance: {self.episodes // self.group_size} groups are not divisible by "
                f"{processes} processes"
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
