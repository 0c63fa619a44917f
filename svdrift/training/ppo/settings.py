"""PPO: what the workflow knows of it, and its settings."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from svdrift.training.method import Budget, FineTuningSettings, Method, MethodSettings, Quarters

METHOD = Method(
    label="PPO",
    tables=("metrics", "advantages"),
    unit="update",
    plays=True,
    sharding=frozenset({"none", "fsdp2"}),  # DeepSpeed would hold the model and step itself
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
}
"""Published hyperparameters (arXiv 2508.16546 and its code), chosen by `preset: paper`."""


class Settings(FineTuningSettings):
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
    updates: int = Field(60, gt=0, le=10**7, description="Rollout-and-update rounds.")
    episodes: int = Field(
        128, gt=0, le=2**20, description="Episodes per update, over all processes."
    )
    epochs: int = Field(2, gt=0, le=10_000, description="Passes over each update's episodes.")
    minibatch_size: int = Field(
        128, gt=0, le=2**20, description="Episodes per optimizer step, over all processes."
    )
    micro_batch_size: int = Field(
        32, gt=0, le=2**20, description="Episodes per forward pass and process; bounds memory only."
    )
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Adam's learning rate at the start.")
    final_learning_rate: float | None = Field(
        None, gt=0, le=1, description="Its end under a cosine schedule; none keeps it constant."
    )
    adam_epsilon: float = Field(1e-8, gt=0, le=1, description="Adam's epsilon.")
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
        description="Quarters of the gold reply with which a reply begins, drawn for each episode; "
        "`[0]` gives none. Given tokens carry no loss, and the whole reply is verified.",
    )
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
    gradient_checkpointing: bool = Field(False, description="Trade time for memory (GPU).")

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
            if given and any(self.prefix_quarters):
                raise ValueError(f"{key}: weighs whole replies; prefix_quarters is not [0]")
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
            f"{', with begun replies' if any(self.prefix_quarters) else ''}"
            f"{', with permuted rewards' if self.permute_rewards else ''}{self.by_lora}"
        )

    @property
    def budget(self) -> Budget:
        """As many samples and optimizer steps, at the same learning rate."""
        return Budget(
            steps=self.updates * self.steps_per_update,
            batch_size=self.minibatch_size,
            learning_rate=self.learning_rate,
            decays=self.final_learning_rate is not None,
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
            raise ValueError("PPO can match stages of reinforcement learning alone")
        return found | {"lora": shared.get("lora")}

    @property
    def networks(self) -> int:
        """Networks that are trained: the policy, and a value model of its own if there is one."""
        return 2 if self.value_model == "separate" else 1
