"""The card game with traces: variants of demonstrations, and a verifier that skips them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pandas as pd

from svdrift.tasks.backtracking.pretraining import SEARCH, TracedMixture, traced_reply
from svdrift.tasks.backtracking.settings import DealSettings, SkillsSettings
from svdrift.tasks.backtracking.traces import trace
from svdrift.tasks.base import Verdict
from svdrift.tasks.general_points import hands
from svdrift.tasks.general_points.game import Hand
from svdrift.tasks.general_points.task import Task as Game
from svdrift.tasks.general_points.task import held_out_of

if TYPE_CHECKING:
    from svdrift.tasks.general_points import settings as game


class Task(Game):
    """The card game; a reply may hold a trace between its numbers and its formula."""

    words: tuple[str, ...] = (*Game.words, "=", ",", ";", "undo", SEARCH)

    @staticmethod
    def vary(table: pd.DataFrame, settings: game.DealSettings) -> pd.DataFrame:
        """The same hands under another rule or target, and with a trace in the column `reply`.

        With a trace, hands that have no room for `most_dead_ends` are left out, whatever the
        variant, so that all variants demonstrate the same hands.
        """
        assert isinstance(settings, DealSettings)
        varied = hands.vary_table(table, settings)
        if settings.trace is None:
            return varied
        chosen, replies = [], []
        for place, row in enumerate(varied.to_dict("records")):
            numbers = [int(number) for number in str(row["numbers"]).split()]
            given = numbers, row["gold"], settings.target
            if trace(*given, "right", settings.most_dead_ends, Random(str(row["problem"]))) is None:
                continue
            kind, count = settings.trace.kind, settings.trace.dead_ends
            parts = trace(*given, kind, count, Random(str(row["problem"])))
            assert parts is not None  # the first of the dead ends that have just been found
            chosen.append(place)
            replies.append(traced_reply(numbers, parts, row["gold"]))
        return varied.iloc[chosen].assign(reply=replies).reset_index(drop=True)

    @staticmethod
    def pretraining_examples(
        settings: game.SkillsSettings, count: int, seed: int
    ) -> list[list[str]]:
        """See `svdrift.tasks.backtracking.pretraining`."""
        assert isinstance(settings, SkillsSettings)
        mixture = TracedMixture(settings, held_out_of(settings, seed), seed)
        return [mixture.example() for _ in range(count)]

    def verify(self, problem: Hand, reply: str) -> Verdict:
        """Judge the formula and the numbers of a reply, whatever the trace between them says."""
        return super().verify(problem, without_trace(reply))


def without_trace(reply: str) -> str:
    """The reply's numbers and formula; any other text as it is."""
    head, semicolon, rest = reply.partition(";")
    if not semicolon:
        return reply
    _, colon, formula = rest.rpartition(":")
    return f"{head.strip()} {colon}{formula}" if colon else reply
