"""Which ranks are chosen, and by which methods. Light: the Snakefile imports it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePath
from typing import Literal, Self

from pydantic import Field, model_validator

from svdrift.errors import UserError
from svdrift.ranks.search import method
from svdrift.section import Section
from svdrift.spectra.settings import CHECKPOINTS


class RanksSettings(Section):
    """A choice of a rank for each matrix of a checkpoint."""

    task: Literal["repair", "keep"] = Field(
        description="`repair`: how many of the anchor's leading directions each matrix is given. "
        "`keep`: how many of its own singular triplets it keeps."
    )
    target: str = Field(description=f"The checkpoint whose matrices change. {CHECKPOINTS}")
    anchor: str | None = Field(
        None, description="The checkpoint that it is repaired from; none with `keep`."
    )
    cost: float = Field(
        gt=0,
        lt=1,
        description="The highest cost: the share of all ranks that are replaced (`repair`), or of "
        "the parameters that are kept (`keep`). It is the same for every method.",
    )
    choices: tuple[float, ...] = Field(
        (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
        description="Shares among which searches choose for each matrix, in the cost's measure; "
        "rising, the last is 1.",
    )
    score: Literal["accuracy", "likelihood"] = Field(
        "accuracy",
        description="What an evaluation measures on selection problems, mean of ID and OOD: the "
        "share solved at the first try, or, where most models solve nothing, minus the loss of "
        "demonstrations.",
    )
    methods: tuple[str, ...] = Field(
        (
            *("uniform", "energy", "threshold", "greedy", "random_search", "cross_entropy"),
            *("dqn", "dqn_at_end"),
        ),
        min_length=1,
        description="Methods of `svdrift/ranks/methods/`, or paths of your own.",
    )
    evaluations: int = Field(
        250, gt=0, description="How many models each method that searches may evaluate."
    )
    count: int = Field(
        64,
        gt=0,
        description="Problems of each selection split in an evaluation, the first ones.",
    )

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The checkpoints whose factors it reads."""
        return (self.target,) if self.anchor is None else (self.target, self.anchor)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if (self.anchor is None) != (self.task == "keep"):
            needs = "has none" if self.task == "keep" else "needs one"
            raise ValueError(f"anchor: {self.task} {needs}")
        rising = all(low < high for low, high in pairwise(self.choices))
        if len(self.choices) < 2 or not rising or self.choices[0] < 0 or self.choices[-1] != 1:
            raise ValueError(f"choices: shares from 0 that rise to 1, not {list(self.choices)}")
        if self.choices[0] > self.cost:
            raise ValueError(
                f"choices: the lowest, {self.choices[0]:g}, costs more than {self.cost:g}"
            )
        if len({PurePath(name).stem for name in self.methods}) < len(self.methods):
            raise ValueError(f"methods: different ones, not {list(self.methods)}")
        for name in self.methods:
            try:
                method(name)
            except UserError as error:
                raise ValueError(f"methods: {error}") from None
        return self
