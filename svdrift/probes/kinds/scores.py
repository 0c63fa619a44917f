"""The same replies by other scorers than the verifier, and by the other rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.probes.probe import LABELS, Probe, Probed, ProbeSettings

if TYPE_CHECKING:
    import pandas as pd

PROBE = Probe(label="replies by other scorers", reads="episodes", asks_task=True)


class Settings(ProbeSettings):
    """First tries that the checkpoint has played, scored in other ways."""


def measure(probed: Probed) -> pd.DataFrame:
    """Score the replies of the checkpoint's episodes.

    Returns:
        One row a problem: its labels; `valid`, the verifier's judgement; the task's further scores;
        `other_rule`, that it solves the problem as another rule of the study reads it, and not as
        its own does; `has_other_rule`, that another rule reads it otherwise, and it can be solved
        so; `n_{name}`, numbers of its solutions.
    """
    import pandas as pd

    from svdrift.tasks.probing import make_probing

    assert probed.episodes is not None
    task, probing = probed.task, make_probing(probed.play)
    replies = probed.episodes.set_index("problem")["reply"]
    rows = []
    for name, problem in zip(probed.problems["problem"], task.read(probed.problems), strict=True):
        reply = str(replies[name])
        valid = task.verify(problem, reply).solved
        others = [
            other
            for other in probing.under_other_rules(problem).values()
            if any(probing.solutions(other).values())
        ]
        rows.append(
            {
                "valid": valid,
                **probing.scores(problem, reply),
                "other_rule": not valid
                and any(task.verify(other, reply).solved for other in others),
                "has_other_rule": bool(others),
                **{f"n_{key}": count for key, count in probing.solutions(problem).items()},
            }
        )
    return pd.concat([probed.problems[LABELS].reset_index(drop=True), pd.DataFrame(rows)], axis=1)
