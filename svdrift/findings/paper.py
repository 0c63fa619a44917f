"""A related paper on the bench: its claims, and what a study must have measured to judge them.

A paper is a file of `svdrift/findings/papers/` with `PAPER` and
`findings(tables, story) -> list[Finding]`; its tables are named by the kind of probe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from types import ModuleType
from typing import cast

from svdrift import plugins
from svdrift.errors import UserError, choices

ROOM = "svdrift.findings.papers"
FIGURES = "svdrift.figures"


@dataclass(frozen=True)
class Paper:
    """A paper.

    Attributes:
        title: of the paper.
        arxiv: its number there; of several papers theirs, with commas; empty for what is not there.
        claims: what it says, in the project's words, by the key that statements name.
        reads: the kinds of probes whose tables its statements are about; the study must have one
            probe of each.
        tables: names of the study's own tables that it reads besides.
        figures: modules of `svdrift/figures/` that its page shows besides its statements, and what
            each draws of `reads` and `tables`.
        arms: the checkpoints that it compares, besides those of the story's other roles: the names
            that the study must give them in `story.arms`, and what each is.
        chooses_repairs: whether it chooses among repairs, so that the study must evaluate them on
            problems for selection.
        ranks: tasks of the choices of ranks that it reads; the study must have one of each.
        control: the comparison that decides, and the paper lacks or leaves in doubt.
        limits: what a tiny model on this task can and cannot say about it.
    """

    title: str
    claims: Mapping[str, str]
    reads: tuple[str, ...]
    control: str
    limits: str
    arxiv: str = ""
    tables: tuple[str, ...] = ()
    arms: Mapping[str, str] = field(default_factory=dict)
    ranks: tuple[str, ...] = ()
    chooses_repairs: bool = False
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("reads", "tables", "ranks"):
            if isinstance(getattr(self, name), str):  # whose letters would be names
                raise TypeError(f"PAPER.{name} is a text, not a tuple of names")
        for figure, drawn in self.figures.items():
            if isinstance(drawn, str):
                raise TypeError(
                    f"PAPER.figures: what {figure} draws is a text, not a tuple of names"
                )
            for table in set(drawn) - {*self.reads, *self.tables}:
                raise TypeError(
                    f"PAPER.figures: {figure} draws {table!r}, which PAPER does not read"
                )

    @property
    def links(self) -> str:
        """The paper on arXiv, in Markdown; several after each other, nothing for none."""
        return ", ".join(
            f"[arXiv {one}](https://arxiv.org/abs/{one})" for one in self.arxiv.split(", ") if one
        )


def load(name: str) -> ModuleType:
    """The module of a paper.

    Raises:
        UserError: there is no such paper, and the message lists the known ones; or one of the
            user's own is not whole.
    """
    module = plugins.load(ROOM, name, holds=("PAPER", "findings"))
    if not isinstance(module.PAPER, Paper):
        raise UserError(f"{name}: PAPER is no svdrift.findings.paper.Paper")
    known = plugins.names(FIGURES)
    for figure in module.PAPER.figures:
        if figure not in known:
            raise UserError(
                f"{name}: PAPER.figures: there is no figure {figure!r}{choices(figure, known)}"
            )
    if not re.fullmatch(r"[\w-]+", short(name)):
        raise UserError(
            f"{name}: the file's name is that of its page (allowed: letters, digits, - and _)"
        )
    return module


def short(name: str) -> str:
    """How a paper's page and jobs are called: a file of the user's own by its stem."""
    return PurePath(name).stem


def paper(name: str) -> Paper:
    """The record of a paper; see `load`."""
    return cast(Paper, load(name).PAPER)
