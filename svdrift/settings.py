"""Every setting of a study: its type, default and meaning. The single source of all three.

`config.yaml` and the overlays in `experiments/` name only what differs from these defaults.
The JSON schema (`workflow/schemas/`) and the reference page (`docs/configuration.md`) are
written from this module by `make docs`; a test fails when they drift.

Sections are frozen and refuse unknown keys. Importing this module is cheap, because the
Snakefile does it on every start.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from svdrift.checkpoints import ANCHOR
from svdrift.errors import UserError, explain
from svdrift.recovery.grid import expand
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.patterns import DEFAULT_PATTERNS
from svdrift.tasks.general_points.game import possible_values
from svdrift.tasks.general_points.splits import OOD_SPLITS

Face = int  # value of a face card under a rule


class Section(BaseModel):
    """A group of settings: immutable, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    UNTRACKED: ClassVar[frozenset[str]] = frozenset()
    """Keys that never change a result, so that nothing runs again because of them."""


def _check_steps(key: str, steps: tuple[int, ...], last: int) -> None:
    if not steps or any(b <= a for a, b in pairwise(steps)):
        raise ValueError(f"{key}: must be a rising list of steps: {list(steps)}")
    if steps[0] < 1 or steps[-1] > last:
        wrong = steps[0] if steps[0] < 1 else steps[-1]
        raise ValueError(f"{key}: step {wrong} is not between 1 and steps = {last}")


# --------------------------------------------------------------------------------------
# The game and its hands


class DecksSettings(Section):
    """From which multisets of values the hands of each purpose are dealt."""

    demonstrated_multisets: int | Literal["all"] = Field(
        60, description="Value multisets that SFT demonstrates; `all` for every practised one."
    )
    selection_multisets: int = Field(
        60, gt=0, description="ID value multisets kept for choosing checkpoints and settings."
    )
    test_multisets: int = Field(
        100, gt=0, description="ID value multisets that neither SFT nor RL ever sees."
    )
    pretraining_holdout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of all value multisets that no training stage ever sees, "
        "pretraining included. 0 for a study that starts from an existing model.",
    )
    ood_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the rank multisets with a face card that are kept for OOD "
        "selection and test, and so are never dealt for SFT or RL.",
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Your own hands: evaluation split (`id_test`, `ood_test`) to a CSV file "
        "with a column `cards`, such as `3 J 5 10`.",
    )

    @model_validator(mode="after")
    def _known_splits(self) -> Self:
        for split in self.files:
            if split not in ("id_test", "ood_test"):
                raise ValueError(f"files: {split!r} is not a test split (id_test, ood_test)")
        return self


class HandsSettings(DecksSettings):
    """How many hands are dealt for each purpose, and from how many multisets of values."""

    demonstrations: int = Field(2048, gt=0, description="Hands dealt for SFT (at most).")
    practice: int = Field(8192, gt=0, description="Hands dealt for RL (at most).")
    selection: int = Field(500, gt=0, description="Hands per rule in the selection sets.")
    test: int = Field(1000, gt=0, description="Hands per rule in the test sets.")
    demonstrated_test: int = Field(
        500, gt=0, description="Hands from demonstrated multisets on which SFT's fit is measured."
    )


class GameSettings(Section):
    """The verifiable task, as far as playing saved problems goes."""

    name: Literal["general_points"] = Field(
        "general_points", description="The task: `general_points` is the 24-point card game."
    )
    prompt_style: Literal["compact", "paper"] = Field(
        "compact",
        description="`compact`: one word per token, for the tiny model. "
        "`paper`: the published instruction form, for real language models.",
    )
    rules: dict[str, tuple[Face, Face, Face]] = Field(
        default_factory=lambda: {"tens": (10, 10, 10), "faces": (11, 12, 13)},
        description="Rules by name: the values of J, Q and K.",
    )

    @model_validator(mode="after")
    def _values_of_cards(self) -> Self:
        for name, values in self.rules.items():
            if not all(1 <= value <= 60 for value in values):
                raise ValueError(f"rules.{name}: values of J, Q, K must lie in 1..60: {values}")
        return self


class SkillsSettings(Section):
    """What pretraining takes from the task: neither which rule is which, nor how many hands."""

    name: Literal["general_points"]
    target: int
    values: tuple[int, ...]  # that a card can have under some rule, in ascending order
    holdout: float  # share of their multisets that must not appear


class DealSettings(Section):
    """What dealing one split takes from the task: its own rule, and not how many hands."""

    name: Literal["general_points"]
    target: int
    rule: str
    faces: tuple[Face, Face, Face]  # values of J, Q and K under the rule
    values: tuple[int, ...]  # that a card can have under some rule, in ascending order
    decks: DecksSettings


class TaskSettings(GameSettings):
    """The verifiable task: its rules, its prompts and its hands."""

    max_reply_tokens: int = Field(
        18, gt=0, description="Longest reply in tokens; the compact solution has 17."
    )
    target: int = Field(24, gt=0, le=60, description="The number that a formula must reach.")
    id_rule: str = Field("tens", description="Rule of SFT, RL and in-distribution evaluation.")
    ood_rule: str = Field("faces", description="Rule of out-of-distribution evaluation.")
    hands: HandsSettings = HandsSettings()

    @model_validator(mode="after")
    def _known_rules(self) -> Self:
        for key in ("id_rule", "ood_rule"):
            if getattr(self, key) not in self.rules:
                raise ValueError(
                    f"{key}: {getattr(self, key)!r} is not a rule (allowed: "
                    f"{', '.join(self.rules)})"
                )
        if self.rules[self.id_rule] == self.rules[self.ood_rule]:
            raise ValueError("ood_rule: must give the face cards other values than id_rule")
        return self

    @model_validator(mode="after")
    def _room_for_replies(self) -> Self:
        if self.prompt_style == "paper" and self.max_reply_tokens < 100:
            raise ValueError(
                f"max_reply_tokens: {self.max_reply_tokens} cuts off every reply of prompt_style "
                "'paper' (allowed: 100 or more)"
            )
        return self

    def rule_of(self, split: str) -> str:
        """Name of the rule under which a split is dealt."""
        return self.ood_rule if split in OOD_SPLITS else self.id_rule

    def game(self, *splits: str) -> GameSettings:
        """What playing these splits takes."""
        rules = dict.fromkeys(self.rule_of(split) for split in splits)
        return GameSettings(
            name=self.name,
            prompt_style=self.prompt_style,
            rules={rule: self.rules[rule] for rule in rules},
        )

    def deal(self, split: str) -> DealSettings:
        """What dealing a split takes."""
        return DealSettings(
            name=self.name,
            target=self.target,
            rule=self.rule_of(split),
            faces=self.rules[self.rule_of(split)],
            values=possible_values(self.rules),
            decks=DecksSettings(
                **{key: getattr(self.hands, key) for key in DecksSettings.model_fields}
            ),
        )

    @property
    def skills(self) -> SkillsSettings:
        """What pretraining takes."""
        return SkillsSettings(
            name=self.name,
            target=self.target,
            values=possible_values(self.rules),
            holdout=self.hands.pretraining_holdout,
        )


# --------------------------------------------------------------------------------------
# Models and training


class ArchitectureSettings(Section):
    """Shape of the tiny Llama that a study trains from nothing."""

    hidden_size: int = Field(96, gt=0, description="Width of the residual stream.")
    layers: int = Field(4, gt=0, description="Number of transformer layers.")
    heads: int = Field(4, gt=0, description="Attention heads.")
    intermediate_size: int = Field(256, gt=0, description="Width of the MLP.")
    positions: int = Field(256, gt=0, description="Longest sequence in tokens.")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide hidden_size {self.hidden_size}")
        return self


Dtype = Literal["float32", "bfloat16"]


class ModelSettings(Section):
    """The base model."""

    source: str = Field(
        "tiny",
        description="`tiny`: trained from nothing by this study. Otherwise the path of a Hugging "
        "Face model folder with safetensors; of a GGUF file; `package:NAME` of an installed Python "
        "package that ships one; or `ORG/NAME` or `ORG/NAME@REVISION` on the Hugging Face hub.",
    )
    architecture: ArchitectureSettings = Field(
        ArchitectureSettings(), description="Used when `source` is `tiny`."
    )
    dtype: Dtype = Field(
        "float32",
        description="Type in which checkpoints are saved, and models evaluated and repaired. "
        "Training keeps float32 weights and starts from the rounded checkpoint; its forward passes "
        "compute in `bfloat16` on a GPU always, on a CPU with this. Every save rounds to nearest. "
        "Spectra and repairs are computed in float32.",
    )


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
        "constant", description="Learning rate after warm-up."
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
        _check_steps("checkpoints", self.checkpoints, self.steps)
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


EvaluatedSplit = Literal["demonstrated", "id_selection", "ood_selection", "id_test", "ood_test"]


REPAIRED_SPLITS: tuple[EvaluatedSplit, ...] = ("demonstrated", "id_test", "ood_test")
"""Splits that repaired models play."""


class EvaluationSettings(Section):
    """How checkpoints are evaluated on the saved hands."""

    UNTRACKED = frozenset({"batch_size"})

    tries: int = Field(5, ge=1, le=5, description="Tries per hand in the multi-try sets.")
    multi_try_splits: tuple[EvaluatedSplit, ...] = Field(
        (),
        description="Splits evaluated with several tries, at about six times the cost; all "
        "others with one.",
    )
    temperature: float = Field(0.0, ge=0, description="0 is greedy decoding.")
    batch_size: int = Field(512, gt=0, description="Hands decoded at once.")


class GenerationSettings(Section):
    """Which program writes replies, in evaluation and in RL."""

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
        description="Longest prompt and reply in tokens that vLLM makes room for; a longer one is "
        "refused.",
    )


# --------------------------------------------------------------------------------------
# Weights: what is compared, and what is repaired

LAST = "last"  # the last SFT checkpoint
CHECKPOINTS = (
    "Checkpoints are named by their ids (`base`, `sft-64`, `ppo-from-64`), or `anchor` (the OOD "
    "peak of SFT, chosen on the selection hands) and `last` (the last of SFT)."
)


class SpectraSettings(Section):
    """Which weight matrices are decomposed, and what is measured between checkpoints."""

    patterns: dict[str, str] = Field(
        DEFAULT_PATTERNS,
        description="Module to regular expression over whole tensor names; `{layer}` stands for "
        "the layer's number.",
    )
    pairs: Literal["standard"] | tuple[tuple[str, str], ...] = Field(
        "standard",
        description=f"Pairs [before, after] whose drift is measured. {CHECKPOINTS} `standard`: "
        "base to every SFT checkpoint, anchor to last, and each start of RL to its result.",
    )
    shares: tuple[float, ...] = Field(
        (0.1, 0.25, 0.5),
        min_length=1,
        description="Sizes of top and bottom subspaces as shares of the full rank.",
    )
    windows: int = Field(10, gt=0, description="Windows along each spectrum.")
    draws: int = Field(5, ge=2, description="Random draws per null, for its interval.")

    @model_validator(mode="after")
    def _readable_patterns(self) -> Self:
        if not self.patterns:
            raise ValueError("patterns: none; without any, no matrix is decomposed")
        for module, pattern in self.patterns.items():
            if not re.fullmatch(r"[a-z0-9_]+", module):
                raise ValueError(f"patterns: {module!r} is no name of a module (allowed: a-z0-9_)")
            try:
                re.compile(pattern.replace("{layer}", "0"))
            except re.error as error:
                raise ValueError(f"patterns.{module}: {pattern!r}: {error}") from None
            if pattern.count("{layer}") > 1:
                raise ValueError(f"patterns.{module}: {pattern!r} holds {{layer}} twice")
        return self

    @model_validator(mode="after")
    def _shares_of_a_rank(self) -> Self:
        if not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"shares: of the rank, above 0 and up to 1: {list(self.shares)}")
        return self


GridRow = dict[str, Any]  # fields of an Intervention, read by `svdrift.recovery.grid`


def _check_grid(key: str, rows: tuple[GridRow, ...]) -> None:
    try:
        expand(rows)
    except UserError as error:
        raise ValueError(f"{key}: {error}") from None


class RepairSettings(Section):
    """A checkpoint that is given something of another one."""

    target: str = Field(description="The checkpoint that is repaired.")
    anchor: str = Field(description="The checkpoint that its repair is taken from.")
    interventions: tuple[GridRow, ...] | None = Field(
        None, description="A grid of its own; none for `recovery.interventions`."
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _check_grid("interventions", self.interventions or ())
        return self


class RecoverySettings(Section):
    """Which checkpoints are repaired from which others, and by which interventions."""

    repairs: Literal["standard"] | tuple[RepairSettings, ...] = Field(
        "standard",
        description="List of {target, anchor, interventions}, the last a grid of its own or left "
        f"out. {CHECKPOINTS} `standard`: last with anchor; and, by `side_interventions`, RL's "
        "result from the moderate start with that start, and that start with anchor.",
    )
    interventions: tuple[GridRow, ...] = Field(
        (
            {"kind": "directions", "top": [0.1, 0.2, 0.3, 1]},
            {"kind": "directions", "bottom": 0.2},
            {
                "kind": "directions",
                "top": 1,
                "layers": [[0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1]],
            },
            {"kind": "triplets", "top": 0.2},
            {"kind": "values", "top": [0.2, 1]},
            {"kind": "random_directions", "top": 0.2},
            {"kind": "interpolate", "weight": [0.25, 0.5, 0.75]},
            {"kind": "reset", "layers": [[0, 0.5], [0.5, 1]]},
        ),
        description="Grid of interventions: rows of {kind, top, bottom, layers, modules, "
        "embedding_and_head, weight, full_rank_reset, seed}. Any value may be a list of "
        "alternatives, and a row stands for every combination. One job each.",
    )
    side_interventions: tuple[GridRow, ...] = Field(
        ({"kind": "directions", "top": [0.2, 1]}, {"kind": "interpolate", "weight": 0.5}),
        description="The smaller grid of the other standard repairs.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _check_grid("interventions", self.interventions)
        _check_grid("side_interventions", self.side_interventions)
        return self


class Repair(NamedTuple):
    """One repair with its grid spelt out. Both checkpoints by id, or `anchor`."""

    target: str
    anchor: str
    interventions: tuple[Intervention, ...]


# RL methods that a way of sharding cannot train.
UNSUPPORTED = {("ppo", "zero2"), ("ppo", "zero3"), ("grpo", "zero3")}


SizedRule = Literal[
    "pretrain",
    "import_model",
    "train_sft",
    "keep_sft",
    "train_ppo",
    "train_ppo_on_demonstrations",
    "train_grpo",
    "train_grpo_on_demonstrations",
    "continue_sft",
    "widen_sft",
    "evaluate",
    "decompose",
    "measure_drift",
    "measure_updates",
    "recover",
    "export_recovered",
]
"""Rules whose jobs grow with the model."""


class JobSettings(Section):
    """What the jobs of a rule ask for at their first attempt; the second gets twice as much."""

    mem_mb: int | None = Field(None, gt=0, description="Main memory in megabytes.")
    runtime: int | None = Field(None, gt=0, description="Minutes.")


class ComputeSettings(Section):
    """What a training job runs on. Never part of a result: changing it reruns nothing."""

    gpus: int = Field(
        0,
        ge=0,
        description="GPUs per training job, over all its nodes; 0 for the CPU. Other jobs that "
        "compute take one of them.",
    )
    processes: int = Field(
        1,
        gt=0,
        description="Processes per training job, over all its nodes; with GPUs, one for each.",
    )
    nodes: int = Field(1, gt=0, description="Machines per training job; more than one needs Slurm.")
    sharding: Literal["none", "fsdp2", "zero2", "zero3"] = Field(
        "none",
        description="What processes share besides the batch. `fsdp2`: weights, gradients and "
        "moments lie in pieces. `zero2`, `zero3`: so does DeepSpeed (SFT only; `zero2` GRPO too), "
        "with moments, and for `zero3` weights, in the machine's memory (docs/accelerate.md).",
    )
    threads: int = Field(
        1,
        gt=0,
        description="CPU threads of a training job on each of its nodes, shared by the processes "
        "there. Another number gives the same up to rounding.",
    )
    use_gpus: bool = Field(
        True,
        description="False: jobs ask for their GPUs and compute on the CPU, to try out a cluster.",
    )
    resources: dict[SizedRule, JobSettings] = Field(
        default_factory=dict,
        description="By rule: {mem_mb, runtime} of its jobs at the first attempt, megabytes of "
        "main memory and minutes; what is left out stays as the rule has it. Each further attempt "
        "gets as much again.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gpus and self.processes != self.gpus:
            raise ValueError(
                f"processes: {self.processes} processes with {self.gpus} GPUs; needs one for each"
            )
        if self.processes % self.nodes:
            raise ValueError(f"nodes: {self.nodes} does not divide processes {self.processes}")
        if self.sharding != "none" and self.processes == 1:
            raise ValueError(
                f"sharding: '{self.sharding}' with one process, which has nobody to share with "
                "(allowed: 'none', or more processes)"
            )
        if self.sharding.startswith("zero") and self.device != "cuda":
            raise ValueError(f"sharding: '{self.sharding}' needs GPUs (allowed: 'none', 'fsdp2')")
        return self

    @property
    def device(self) -> Literal["cuda", "cpu"]:
        """Where jobs that may use a GPU compute."""
        return "cuda" if self.gpus and self.use_gpus else "cpu"

    @property
    def accelerate(self) -> str:
        """Name of the file in `workflow/accelerate/` that a training job is launched with."""
        kind = ("gpu" if self.device == "cuda" else "cpu") + ("s" if self.processes > 1 else "")
        return kind if self.sharding == "none" else f"{kind}-{self.sharding}"


# --------------------------------------------------------------------------------------
# The study


class Settings(Section):
    """A study: everything that decides what is computed, and nothing about machines."""

    study: str = Field(
        "default",
        pattern=r"^[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.=,-]+)?$",  # a sweep has its points below its own
        description="Name of the study; its files live under `results/{study}/`.",
    )
    seeds: tuple[NonNegativeInt, ...] = Field(
        (0,), min_length=1, description="Seeds of the whole study."
    )
    task: TaskSettings = TaskSettings()
    model: ModelSettings = ModelSettings()
    pretrain: PretrainSettings = PretrainSettings()
    sft: SFTSettings = SFTSettings()
    rl: RLSettings = RLSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    generation: GenerationSettings = GenerationSettings()
    spectra: SpectraSettings = SpectraSettings()
    recovery: RecoverySettings = RecoverySettings()
    compute: ComputeSettings = ComputeSettings()

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        lists = {
            "seeds": self.seeds,
            "rl.starts": self.rl_starts,
            "rl.trajectories": self.trajectories,
            **{f"rl.controls.{run}": steps for run, steps in self.control_starts.items()},
        }
        for key, values in lists.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: holds one value twice: {list(values)}")
        missing = sorted(set(self.rl_starts) - set(self.sft.checkpoints))
        if missing:
            raise ValueError(
                f"rl.starts: step {missing[0]} is not an SFT checkpoint (allowed: "
                f"{', '.join(map(str, self.sft.checkpoints))})"
            )
        moderate = self.rl.moderate_start
        lists["rl.moderate_start"] = () if moderate is None else (moderate,)
        for key, steps in lists.items():
            extra = sorted(set(steps) - set(self.rl_starts)) if key != "seeds" else []
            if extra:
                raise ValueError(
                    f"{key}: step {extra[0]} is not among rl.starts (allowed: "
                    f"{', '.join(map(str, self.rl_starts))})"
                )
        if self.model.source != "tiny" and self.task.hands.pretraining_holdout:
            raise ValueError(
                "task.hands.pretraining_holdout: must be 0 when model.source is not 'tiny': "
                "nobody knows what that model was pretrained on"
            )
        if self.sft.batch_size % self.compute.processes:
            raise ValueError(
                f"compute.processes: {self.compute.processes} does not divide sft.batch_size "
                f"{self.sft.batch_size}"
            )
        method, sharding = self.rl.method, self.compute.sharding
        if self.rl.training.minibatch_size % self.compute.processes and self.rl_starts:
            raise ValueError(  # PPO could do with any number, but not the SFT that is its control
                f"compute.processes: {self.compute.processes} does not divide "
                f"rl.{method}.minibatch_size {self.rl.training.minibatch_size}"
            )
        if self.rl_starts and (method, sharding) in UNSUPPORTED:
            raise ValueError(
                f"compute.sharding: '{sharding}' cannot train with rl.method '{method}' "
                "(allowed: 'fsdp2' to shard, 'none'; any in a study with rl.starts: [])"
            )
        if sharding.startswith("zero") and self.model.dtype != "bfloat16":
            raise ValueError(
                f"model.dtype: '{self.model.dtype}' is not what compute.sharding "
                f"'{sharding}' saves (allowed: 'bfloat16'; any with 'none', 'fsdp2')"
            )
        if self.generation.backend == "vllm":
            if self.compute.device != "cuda":
                raise ValueError(
                    "generation.backend: 'vllm' needs a GPU (allowed: 'batched', or compute.gpus: "
                    "1 with compute.use_gpus)"
                )
            if self.compute.processes > 1:
                raise ValueError(
                    "generation.backend: 'vllm' works in jobs of one process, and "
                    f"compute.processes is {self.compute.processes} (allowed: 'batched')"
                )
        return self

    @model_validator(mode="after")
    def _comparisons(self) -> Self:
        for pair in self.pairs.values():
            self._check_checkpoints("spectra.pairs", pair)
        for key, given, named in (
            ("spectra.pairs", self.spectra.pairs, self.pairs),
            ("recovery.repairs", self.recovery.repairs, self.repairs),
        ):
            if given != "standard" and len(named) < len(given):
                raise ValueError(f"{key}: holds two of one name: {', '.join(named)}")
        modules = [name for name, at in self.spectra.patterns.items() if "{layer}" in at]
        for name, repair in self.repairs.items():
            self._check_checkpoints("recovery.repairs", (repair.target, repair.anchor))
            for intervention in repair.interventions:
                place = f"recovery: {intervention.id} of {name}"
                unknown = sorted(set(intervention.modules or ()) - set(modules))
                if unknown:
                    raise ValueError(
                        f"{place}: {unknown[0]!r} is no module of the layers (allowed: "
                        f"{', '.join(modules)})"
                    )
                if self.model.source == "tiny":
                    try:
                        intervention.chosen_layers(self.model.architecture.layers)
                    except UserError as error:
                        raise ValueError(f"{place}: {error}") from None
        return self

    def _check_checkpoints(self, key: str, names: tuple[str, str]) -> None:
        for name in names:
            if name != ANCHOR and name not in self.checkpoints:
                raise ValueError(
                    f"{key}: {name!r} is no checkpoint of this study (allowed: {ANCHOR}, {LAST}, "
                    f"{', '.join(self.checkpoints)})"
                )

    @property
    def sft_checkpoints(self) -> tuple[str, ...]:
        """Ids of the checkpoints along SFT, from the base model on."""
        return ("base", *(f"sft-{step}" for step in self.sft.checkpoints))

    @property
    def rl_checkpoints(self) -> tuple[str, ...]:
        """Ids of RL's results, and of what is evaluated on the way to them."""
        updates = self.rl.training.checkpoint_updates
        return (
            *(self.rl_result(step) for step in self.rl_starts),
            *(f"{self.rl_result(s)}-update-{u}" for s in self.trajectories for u in updates),
        )

    @property
    def control_checkpoints(self) -> tuple[str, ...]:
        """Ids of what the controls of RL end at."""
        runs: dict[str, str] = {"demonstrated": f"demonstrated-{self.rl.method}"}
        return tuple(
            f"{runs.get(control, control)}-from-{step}"
            for control, steps in self.control_starts.items()
            for step in steps
        )

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Ids of all checkpoints that are evaluated."""
        return (*self.sft_checkpoints, *self.rl_checkpoints, *self.control_checkpoints)

    def rl_result(self, step: int) -> str:
        """Id of the checkpoint at which RL from an SFT step ends."""
        return f"{self.rl.method}-from-{step}"

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """Checkpoints (before, after) whose drift is measured, by the pair's name in the settings.

        Each is an id, or `anchor`, which only a job can resolve.
        """
        pairs = self.spectra.pairs
        if pairs == "standard":
            pairs = (
                *(("base", after) for after in self.sft_checkpoints[1:]),
                (ANCHOR, LAST),
                *((f"sft-{step}", self.rl_result(step)) for step in self.rl_starts),
            )
        return {f"{a}-to-{b}": (self._resolve(a), self._resolve(b)) for a, b in pairs}

    @property
    def repairs(self) -> dict[str, Repair]:
        """Repairs by name, `{target}-with-{anchor}` as in the settings; none with an empty grid."""
        repairs, side = self.recovery.repairs, self.recovery.side_interventions
        if repairs == "standard":
            repairs = (RepairSettings(target=LAST, anchor=ANCHOR),)
            if self.rl_starts:
                start, result = f"sft-{self.moderate_start}", self.rl_result(self.moderate_start)
                repairs += (RepairSettings(target=result, anchor=start, interventions=side),)
                if start != self._resolve(LAST):
                    repairs += (RepairSettings(target=start, anchor=ANCHOR, interventions=side),)
        found = {}
        for repair in repairs:
            rows = repair.interventions
            grid = expand(self.recovery.interventions if rows is None else rows)
            target, anchor = self._resolve(repair.target), self._resolve(repair.anchor)
            if grid:
                found[f"{repair.target}-with-{repair.anchor}"] = Repair(target, anchor, grid)
        return found

    def candidates(self, *names: str) -> tuple[str, ...]:
        """Checkpoints that names may stand for, each once; the anchor is chosen on the way."""
        found = (self.sft_checkpoints if name == ANCHOR else (name,) for name in names)
        return tuple(dict.fromkeys(name for group in found for name in group))

    @property
    def update_starts(self) -> tuple[int, ...]:
        """SFT steps at which an update of SFT ends and one of RL begins that are compared."""
        return self.rl_starts if self.pairs else ()

    @property
    def decomposed(self) -> tuple[str, ...]:
        """Ids of the checkpoints whose factors drift, updates and repairs need."""
        return self.candidates(
            *(name for pair in self.pairs.values() for name in pair),
            *(name for plan in self.repairs.values() for name in (plan.target, plan.anchor)),
            *(
                name
                for step in self.update_starts
                for name in ("base", f"sft-{step}", self.rl_result(step))
            ),
        )

    def _resolve(self, name: str) -> str:
        return self.sft_checkpoints[-1] if name == LAST else name

    @property
    def moderate_start(self) -> int:
        """SFT step of the start that figures show as the moderate one."""
        if self.rl.moderate_start is not None:
            return self.rl.moderate_start
        return self.rl_starts[(len(self.rl_starts) - 1) // 2]

    @property
    def named_starts(self) -> dict[str, int]:
        """SFT steps of the first, the moderate and the last start of RL, as the papers name them.

        `short` and `long` are missing where the moderate one is itself the first or the last.
        """
        if not self.rl_starts:
            return {}
        moderate = self.moderate_start
        named = {"short": min(self.rl_starts), "moderate": moderate, "long": max(self.rl_starts)}
        return {n: step for n, step in named.items() if n == "moderate" or step != moderate}

    @property
    def rl_starts(self) -> tuple[int, ...]:
        """SFT steps from which RL starts."""
        return self.sft.checkpoints if self.rl.starts == "all" else self.rl.starts

    @property
    def matched_sft(self) -> SFTSettings:
        """SFT as a control of RL: as many samples and updates, at the same learning rate."""
        rl = self.rl.training
        steps = rl.updates * rl.epochs * (rl.episodes // rl.minibatch_size)
        constant = isinstance(rl, GRPOSettings) or rl.final_learning_rate is None
        return self.sft.model_copy(
            update={
                "checkpoints": (steps,),
                "steps": steps,
                "batch_size": rl.minibatch_size,
                "micro_batch_size": math.gcd(rl.minibatch_size, self.sft.micro_batch_size),
                "learning_rate": rl.learning_rate,
                "schedule": "constant" if constant else "cosine",
                "warmup_steps": 0,
                "freeze_embeddings": rl.freeze_embeddings,
            }
        )

    @property
    def trajectories(self) -> tuple[int, ...]:
        """Starts whose intermediate RL checkpoints are evaluated; none in a study without any."""
        return (
            self.rl.trajectories if self.rl_starts and self.rl.training.checkpoint_updates else ()
        )

    @property
    def control_starts(self) -> dict[str, tuple[int, ...]]:
        """SFT steps from which each control starts; none in a study without RL."""
        return {
            control: self.rl_starts if steps == "all" else steps
            for control, steps in self.rl.controls.items()
            if self.rl_starts
        }


# --------------------------------------------------------------------------------------
# Reading, and the one-line refusal


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Validate a configuration (nested plain mappings).

    Raises:
        UserError: one line that names the first offending key, and what is allowed.
    """
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        raise UserError(f"config: {explain(error, Settings)}") from None


# --------------------------------------------------------------------------------------
# What is generated from this module


def reference_page() -> str:
    """The configuration reference in Markdown: one table per section."""
    lines = [
        "# Configuration reference",
        "",
        "Written from `svdrift/settings.py` by `make docs`; do not edit. A study names only "
        "what differs from these defaults, in `config.yaml` or an overlay in `experiments/`.",
    ]
    for path, section in _sections(Settings, ""):
        lines += ["", f"## {f'`{path}`' if path else 'Top level'}", ""]
        lines += [
            (section.__doc__ or "").strip(),
            "",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for name, field in section.model_fields.items():
            if not _is_section(field.annotation):
                default = field.get_default(call_default_factory=True)
                lines.append(f"| `{name}` | `{_plain(default)}` | {field.description} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _sections(model: type[Section], path: str) -> Iterator[tuple[str, type[Section]]]:
    yield path, model
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from _sections(field.annotation, f"{path}.{name}".lstrip("."))  # type: ignore[arg-type]


def main() -> None:
    """Write the schema and the reference page below the current folder."""
    schema = json.dumps(Settings.model_json_schema(), indent=2) + "\n"
    Path("workflow/schemas/config.schema.json").write_text(schema)
    Path("docs/configuration.md").write_text(reference_page())


if __name__ == "__main__":
    main()
