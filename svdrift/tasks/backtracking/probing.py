"""What probes ask of the card game with traces: as of the card game, whatever a trace says."""

from __future__ import annotations

from collections.abc import Mapping

from svdrift.tasks.backtracking.task import without_trace
from svdrift.tasks.general_points import probing
from svdrift.tasks.general_points.game import Hand


class Probing(probing.Probing):
    """See `svdrift.tasks.general_points.probing`."""

    def scores(self, problem: Hand, reply: str) -> Mapping[str, bool]:
        """Of the reply without its trace."""
        return super().scores(problem, without_trace(reply))
