"""What the workflow knows of a training method without importing it: a record, and its settings.

A method is a folder of this room, or a file of your own (`svdrift.plugins`). It has

- `settings.py`: `METHOD`, a `Method`, and `Settings`, a `MethodSettings`; quick to import, because
  the Snakefile does it on every start;
- `train.py`: `train(run: Run) -> Trained` (`svdrift.training.run`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from svdrift import plugins
from svdrift.section import Section

ROOM = "svdrift.training"


@dataclass(frozen=True)
class Method:
    """A training method, as far as the graph of a study depends on it.

    Attributes:
        label: its name in figures and tables.
        tables: names of the tables that it leaves beside its checkpoints.
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


@dataclass(frozen=True)
class Budget:
    """What a matched control copies: counts, batch and learning rate, never the loss.

    Attributes:
        steps: optimizer steps of the whole stage.
        batch_size: samples of an optimizer step, over all processes.
        learning_rate: at the start.
        decays: whether it falls along a cosine.
        freeze_embeddings: whether embedding and output head stay as they are.
    """

    steps: int
    batch_size: int
    learning_rate: float
    decays: bool
    freeze_embeddings: bool


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


def load_settings(name: str) -> tuple[Method, type[MethodSettings]]:
    """The record of a method and the class of its settings.

    Raises:
        UserError: no such method, naming those that there are.
    """
    module = plugins.load(ROOM, name, "settings", ("METHOD", "Settings"))
    return module.METHOD, module.Settings
