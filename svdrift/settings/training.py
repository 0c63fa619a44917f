"""Pretraining, SFT and RL."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from svdrift.settings.section import Section, check_steps


class PretrainSettings(Section):
    """Pretraining of the tiny base model on the skills of the game, not their composition."""

    steps: int = Field(2000, gt=0, description="Optimizer steps.")
    batch_size: int = Field(64, gt=0, description="Sequences per step.")
    learning_rate: float = Field(3e-3, gt=0, description="Peak of AdamW's cosine schedule.")
    warmup_steps: int = Field(50, ge=0, description="Steps of linear warm-up.")


class SFTSettings(Section):
    """Supervised fine-tuning on expert replies under the ID rule."""

    # A run that keeps more of its checkpoints is the same run.
    UNTRACKED = frozenset({"checkpoints", "micro_batch_size", "gradient_checkpointing"})

    checkpoints: tuple[int, ...] = Field(
        (4, 8, 16, 32, 64, 128, 256),
        description="Steps at which a checkpoint is kept. Step 0 is the base model and is "
        "always evaluated; it is not listed.",
    )
    steps: int = Field(256, gt=0, description="Optimizer steps.")
    batch_size: int = Field(64, gt=0, description="Sequences per step, over all processes.")
    micro_batch_size: int = Field(
        64, gt=0, description="Sequences per forward pass and process; bounds memory only."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate after warm-up: `constant` or `cosine`."
    )
    warmup_steps: int = Field(20, ge=0, description="Steps of linear warm-up.")
    freeze_embeddings: bool = Field(
        True,
        description="Keep the embedding and the output head fixed. In a tiny model the values "
        "that never occur as labels are otherwise unlearned in the head alone.",
    )
    gradient_checkpointing: bool = Field(False, description="Trade time for memory (GPU).")
    max_length: int = Field(1024, gt=0, description="Longest prompt and reply in tokens.")

    @model_validator(mode="after")
    def _steps_in_range(self) -> Self:
        check_steps("checkpoints", self.checkpoints, self.steps)
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size: {self.micro_batch_size} does not divide "
                f"batch_size {self.batch_size}"
            )
        return self


PAPER_PPO: dict[str, Any] = {
    "granularity": "turn",
    "tries": 5,
    "updates": 100,
    "episodes": 128,
    "epochs": 4,
    "minibatch_size": 128,
    "micro_batch_size": 1,
    "learning_rate": 1e-6,
    "final_learning_rate": 1e-9,
    "adam_epsilon": 1e-7,
    "clip": 0.1,
    "value_clip": 0.1,
    "value_coefficient": 0.5,
    "entropy_coefficient": 0.0,
    "kl_coefficient": 0.0,
    "gamma": 0.9,
    "gae_lambda": 0.95,
    "temperature": 0.2,
    "max_grad_norm": 0.01,
    "reward_scale": 1.0,
    "reasoning_weight": 0.5,
    "formula_marker": '"formula"',
    "skip_first_token": True,
    "only_clipped_above": 10.0,
    "freeze_embeddings": False,
    "checkpoint_every": 5,
}
"""Published hyperparameters (arXiv 2508.16546 and its code), chosen by `preset: paper`."""


class PPOSettings(Section):
    """Proximal policy optimisation with the verifier's reward (Schulman et al. 2017)."""

    # The preset has been applied: every key that it stands for is given.
    UNTRACKED = frozenset({"preset", "micro_batch_size", "gradient_checkpointing"})

    preset: Literal["tiny", "paper"] = Field(
        "tiny",
        description="Where keys that are not given come from: `tiny`, the defaults of this "
        "page; `paper`, the published hyperparameters (docs/deviations.md).",
    )
    granularity: Literal["turn", "token"] = Field(
        "turn", description="What one action is: a whole reply (published) or one token."
    )
    tries: int = Field(1, ge=1, le=5, description="Tries per episode during training.")
    updates: int = Field(60, gt=0, description="Rollout-and-update rounds.")
    episodes: int = Field(128, gt=0, description="Episodes per update, over all processes.")
    epochs: int = Field(2, gt=0, description="Passes over each update's episodes.")
    minibatch_size: int = Field(
        128, gt=0, description="Episodes per optimizer step, over all processes."
    )
    micro_batch_size: int = Field(
        32, gt=0, description="Episodes per forward pass and process; bounds memory only."
    )
    learning_rate: float = Field(1e-4, gt=0, description="Adam's learning rate at the start.")
    final_learning_rate: float | None = Field(
        None, gt=0, description="Its end under a cosine schedule; none keeps it constant."
    )
    adam_epsilon: float = Field(1e-8, gt=0, description="Adam's epsilon.")
    clip: float = Field(0.1, gt=0, description="Ratios are clipped to 1 -+ this.")
    value_clip: float | None = Field(
        0.1, gt=0, description="Clip of the value's change per update; none for no clipping."
    )
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    entropy_coefficient: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
    kl_coefficient: float = Field(
        0.0, ge=0, description="Weight of the KL penalty to the start (k3 estimator)."
    )
    gamma: float = Field(0.9, ge=0, le=1, description="Discount per action.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of GAE, per action.")
    temperature: float = Field(
        1.0, gt=0, description="Sampling temperature, also inside the log-probabilities."
    )
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm is clipped to this.")
    reward_scale: float = Field(0.2, gt=0, description="Verifier rewards are multiplied by it.")
    value_model: Literal["shared", "separate"] = Field(
        "shared", description="Value head on the policy's trunk, or on a copy of its own."
    )
    reasoning_weight: float = Field(
        1.0,
        ge=0,
        description="Weight of the log-probabilities of reply tokens before `formula_marker`; "
        "the published code uses 0.5. Turns only.",
    )
    formula_marker: str = Field(
        '"formula"',
        min_length=1,
        description="Text in a reply at which its formula begins; read only when "
        "`reasoning_weight` is not 1.",
    )
    skip_first_token: bool = Field(
        False,
        description="Leave the first reply token out of the turn's log-probability, as the "
        "published code does. Turns only.",
    )
    only_clipped_above: float | None = Field(
        None,
        gt=1,
        description="Actions whose ratio exceeds this count with the clipped branch alone, as in "
        "the published code; none keeps PPO's minimum of both.",
    )
    freeze_embeddings: bool = Field(True, description="Keep embedding and output head fixed.")
    gradient_checkpointing: bool = Field(False, description="Trade time for memory (GPU).")
    checkpoint_every: int = Field(
        20, gt=0, description="Updates between the intermediate checkpoints that are evaluated."
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("preset") == "paper":
            return {**PAPER_PPO, **data}
        return data

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        if self.episodes % self.minibatch_size:
            raise ValueError(
                f"minibatch_size: {self.minibatch_size} does not divide episodes {self.episodes}"
            )
        return self

    @model_validator(mode="after")
    def _weights_of_turns(self) -> Self:
        weighted = {
            "reasoning_weight": self.reasoning_weight != 1,
            "skip_first_token": self.skip_first_token,
        }
        for key, given in weighted.items():
            if given and self.granularity == "token":
                raise ValueError(f"{key}: weighs the tokens of a turn; granularity is 'token'")
        return self

    @property
    def checkpoint_updates(self) -> range:
        """Updates after which an intermediate checkpoint is kept; the last is not one."""
        return range(self.checkpoint_every, self.updates, self.checkpoint_every)


class GRPOSettings(Section):
    """Group relative policy optimisation (Shao et al. 2024), the comparison method to PPO."""

    UNTRACKED = frozenset({"micro_batch_size", "gradient_checkpointing"})

    tries: int = Field(1, ge=1, le=5, description="Tries per episode during training.")
    updates: int = Field(60, gt=0, description="Rollout-and-update rounds.")
    episodes: int = Field(128, gt=0, description="Episodes per update, over all processes.")
    group_size: int = Field(
        8, gt=1, description="Episodes on one hand; a reward counts relative to its group's."
    )
    epochs: int = Field(2, gt=0, description="Passes over each update's episodes.")
    minibatch_size: int = Field(
        128, gt=0, description="Episodes per optimizer step, over all processes."
    )
    micro_batch_size: int = Field(
        32, gt=0, description="Episodes per forward pass and process; bounds memory only."
    )
    learning_rate: float = Field(1e-4, gt=0, description="Adam's learning rate.")
    clip: float = Field(0.1, gt=0, description="Ratios of tokens are clipped to 1 -+ this.")
    kl_coefficient: float = Field(
        0.0, ge=0, description="Weight of the KL penalty to the start (k3 estimator)."
    )
    temperature: float = Field(
        1.0, gt=0, description="Sampling temperature, also inside the log-probabilities."
    )
    max_grad_norm: float = Field(0.5, gt=0, description="Gradient norm is clipped to this.")
    freeze_embeddings: bool = Field(True, description="Keep embedding and output head fixed.")
    gradient_checkpointing: bool = Field(False, description="Trade time for memory (GPU).")
    checkpoint_every: int = Field(
        20, gt=0, description="Updates between the intermediate checkpoints that are evaluated."
    )

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        for key in ("group_size", "minibatch_size"):
            if self.episodes % getattr(self, key):
                raise ValueError(
                    f"{key}: {getattr(self, key)} does not divide episodes {self.episodes}"
                )
        return self

    @property
    def checkpoint_updates(self) -> range:
        """Updates after which an intermediate checkpoint is kept; the last is not one."""
        return range(self.checkpoint_every, self.updates, self.checkpoint_every)


Control = Literal["continued", "wide", "demonstrated"]


class RLSettings(Section):
    """Reinforcement learning on the ID rule from SFT checkpoints, and its controls."""

    starts: tuple[int, ...] | Literal["all"] = Field(
        "all",
        description="SFT steps from which RL starts; `all` for every checkpoint, an empty list "
        "for a study without RL.",
    )
    trajectories: tuple[int, ...] = Field(
        (), description="Starts whose intermediate RL checkpoints are evaluated too."
    )
    moderate_start: int | None = Field(
        None,
        description="The start that figures show as the moderate one, as the papers call it; "
        "none for the middle one, of an even number the lower.",
    )
    method: Literal["ppo", "grpo"] = Field(
        "ppo", description="How RL trains: our own PPO, or TRL's GRPO for comparison."
    )
    ppo: PPOSettings = PPOSettings()
    grpo: GRPOSettings = GRPOSettings()
    controls: dict[Control, tuple[int, ...] | Literal["all"]] = Field(
        {"continued": "all", "wide": "all", "demonstrated": "all"},
        description="Matched controls, and the SFT steps from which each starts: `continued`, SFT "
        "goes on, on the same demonstrations; `wide`, SFT on all hands that RL saw; "
        "`demonstrated`, RL on the demonstrated hands only.",
    )

    @property
    def training(self) -> PPOSettings | GRPOSettings:
        """Settings of the chosen method."""
        return self.ppo if self.method == "ppo" else self.grpo
