"""What the workflow knows of a training method without importing it: a record, and its settings.

A method is a folder of this room, or a file of your own (`svdrift.plugins`). It has

- `settings.py`: `METHOD`, a `Method`, and `Settings`, a `MethodSettings`; quick to import, because
  the Snakefile does it on every start;
- `train.py`: `train(run: Run) -> Trained` (`svdrift.training.run`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from svdrift import plugins
from svdrift.errors import UserError
from svdrift.section import Section

ROOM = "svdrift.training"

Quarters: TypeAlias = tuple[Annotated[int, Field(ge=0, le=3)], ...]
"""Quarters of a gold reply that RL may be given; all four would leave nothing to learn."""


COLUMNS = {
    "losses": ("step", "train_loss"),
    "metrics": ("update", "reward_mean", "reward_std", "solved_by_try_1"),
    "examples": ("prompt", "reply"),
}
"""What figures and claims read of tables of these names, whatever method leaves them."""


@dataclass(frozen=True)
class Method:
    """A training method, as far as the graph of a study depends on it.

    Attributes:
        label: its name in figures and claims, where a stage is called like the method, or is alone
            with a method of the user's own; the stage's key `label` comes first.
        tables: names of the tables that it leaves beside its checkpoints. Those that the project
            reads have columns that it asks for, see `COLUMNS`.
        unit: what one step of it is: an optimizer `step`, or an RL `update`.
        learns_from: the `problems` of a split, the `skills` of the task (for a model made from
            nothing), or `nothing`.
        starts: whether it trains from a checkpoint; without, its stage is a root of the graph.
        plays: whether it lets the model play episodes.
        sharding: the kinds of sharding that it can train with.
        launched: whether it runs under `accelerate launch`, on several processes if asked.
        stored: whether its outputs may be kept in the store; not where they are links to files
            outside the study.
        runtime: minutes that its job asks for at the first attempt.
    """

    label: str
    tables: tuple[str, ...]
    unit: Literal["step", "update"] = "step"
    learns_from: Literal["problems", "skills", "nothing"] = "problems"
    starts: bool = True
    plays: bool = False
    sharding: frozenset[str] = frozenset({"none"})
    launched: bool = True
    stored: bool = True
    runtime: int = 60


class LoRASettings(Section):
    """Low-rank adapters, trained in place of the weights (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(8, gt=0, le=2**16, description="Most rank of the update of a matrix.")
    alpha: float = Field(16.0, gt=0, description="The update is B A times this over `rank`.")
    modules: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Linear modules of the layers that have an adapter, by the last part of their "
        "names, such as `[q_proj, v_proj]`; none for all of them.",
    )

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        for name in self.modules or ():
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ValueError(f"modules: {name!r} is no name of a module (such as q_proj)")
        if len(set(self.modules or ())) < len(self.modules or ()):
            raise ValueError(f"modules: names one twice: {list(self.modules or ())}")
        return self


@dataclass(frozen=True)
class Budget:
    """What a matched control copies: counts, batch and learning rate, never the loss.

    Attributes:
        steps: optimizer steps of the whole stage.
        batch_size: samples of an optimizer step, over all processes.
        learning_rate: at the start.
        decays: whether it falls along a cosine.
        freeze_embeddings: whether embedding and output head stay as they are.
        lora: adapters that are trained in place of the weights, if any.
    """

    steps: int
    batch_size: int
    learning_rate: float
    decays: bool
    freeze_embeddings: bool
    lora: LoRASettings | None = None


@dataclass(frozen=True)
class Work:
    """How much a whole run computes, for a study's budget.

    Attributes:
        samples: that training reads, each counted as often as it is read.
        episodes: that the model plays.
        tries: of each episode.
        networks: models of the policy's size that are trained at once.
        recomputes: whether activations are computed again for the backward pass.
    """

    samples: int = 0
    episodes: int = 0
    tries: int = 1
    networks: int = 1
    recomputes: bool = False


class MethodSettings(Section):
    """The settings of a method; each method's `Settings` derives from it."""

    @property
    def total(self) -> int:
        """The last step of a whole run; 0 where the method makes its checkpoint in one go."""
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """What a run does, in a few words for captions, such as `256 steps of 64 at 0.001`."""
        return ""

    @property
    def files(self) -> tuple[Path, ...]:
        """Local files that define what is made; changing any of them makes it anew."""
        return ()

    @property
    def needs_network(self) -> bool:
        """Whether its job fetches something, which compute nodes may not be able to."""
        return False

    @property
    def threads(self) -> int | None:
        """CPU threads of its job where `compute.threads` does not decide."""
        return None

    @property
    def reads_selection(self) -> bool:
        """Whether training measures its accuracy on the task's ID problems for selection."""
        return False

    def check_files(self) -> None:
        """Check early, before any job, what lies outside the configuration.

        Raises:
            UserError: something is missing; the text says what.
        """

    @property
    def budget(self) -> Budget | None:
        """What a control copies with `matches`; None if the method has nothing to match."""
        return None

    @property
    def work(self) -> Work:
        """How much a run computes, from the names that settings usually have.

        A step plays `episodes` of `tries` each and reads them `epochs` times; without episodes it
        reads `batch_size` samples. `networks` and `gradient_checkpointing` count where they are
        there. A method that computes something else overrides this.
        """
        played = self.total * getattr(self, "episodes", 0)
        read = played * getattr(self, "epochs", 1) or self.total * getattr(self, "batch_size", 0)
        return Work(
            samples=read,
            episodes=played,
            tries=getattr(self, "tries", 1),
            networks=getattr(self, "networks", 1),
            recomputes=getattr(self, "gradient_checkpointing", False),
        )

    def check_processes(self, processes: int) -> None:
        """Refuse a number of processes that does not divide the batches.

        Raises:
            ValueError: naming the key of these settings.
        """

    @classmethod
    def matching(cls, other: Self | MethodSettings) -> dict[str, Any]:
        """The keys of these settings that `matches` sets, from the settings that are matched.

        Raises:
            ValueError: this method cannot match that one; the text says why.
        """
        raise ValueError("this method cannot match another one")


class FineTuningSettings(MethodSettings):
    """Which weights of its start a method trains."""

    freeze_embeddings: bool = Field(
        True,
        description="Keep the embedding and the output head fixed. In a tiny model the values "
        "that never occur as labels are otherwise unlearned in the head alone.",
    )
    lora: LoRASettings | None = Field(
        None,
        description="Adapters of low rank that are trained in place of the weights, as a mapping "
        "(`{}` takes its defaults); none to train the weights. Kept checkpoints hold the merged "
        "weights.",
    )

    @model_validator(mode="after")
    def _adapters_leave_embeddings(self) -> Self:
        if self.lora is not None and not self.freeze_embeddings:
            raise ValueError(
                "lora: adapts the layers alone, and freeze_embeddings is false (allowed: true)"
            )
        return self

    @property
    def by_lora(self) -> str:
        """What a summary adds where adapters are trained."""
        return "" if self.lora is None else f" by LoRA of rank {self.lora.rank}"


def load_settings(name: str) -> tuple[Method, type[MethodSettings]]:
    """The record of a method and the class of its settings.

    Raises:
        UserError: no such method, naming those that there are; or one of the user's own is not
            whole.
    """
    module = plugins.load(ROOM, name, "settings", ("METHOD", "Settings"))
    record, settings = module.METHOD, module.Settings
    if not isinstance(record, Method):
        raise UserError(f"{name}: METHOD is no svdrift.training.method.Method")
    if not (isinstance(settings, type) and issubclass(settings, MethodSettings)):
        raise UserError(f"{name}: Settings is no svdrift.training.method.MethodSettings")
    if settings.total is MethodSettings.total:
        raise UserError(f"{name}: Settings has no property `total`, the last step of a whole run")
    if name not in plugins.names(ROOM, "settings") and not hasattr(module, "train"):
        raise UserError(f"{name}: defines no train (docs/extending.md has examples)")
    return record, settings
