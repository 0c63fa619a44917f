"""Non-decoupling of SFT and RL (arXiv 2601.07389): does each stage undo the other?

SFT's loss is minus the log-probability of *one* demonstration. Beside it stands the set loss, of
all right replies together: probability that moves to other right replies is not forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import pandas as pd

from svdrift.evaluation.contrasts import ID, OOD
from svdrift.findings.finding import Estimate, Finding, Statement, held
from svdrift.findings.paired import of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Story

PAPER = Paper(
    title="On the non-decoupling of supervised fine-tuning and reinforcement learning",
    arxiv="2601.07389",
    claims={
        "rl-raises-loss": "RL after SFT raises the loss of the demonstrations",
        "not-forgotten": "It does so without losing what was learned: probability moves to other "
        "right replies",
        "against-sft": "Both are so also beside SFT of the same size, the control",
    },
    reads=("losses",),
    limits="RL here has no KL penalty, which the theory has. That SFT after RL lowers the reward "
    "is not judged on this page yet.",
)
PARTS = ("translation", "formula")
PUBLISHED = "confirmed on Qwen3-0.6B; no figures"

_statement = partial(statement, "losses", "nats")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL against its own start and its controls, from every start."""
    return held(_pairs(tables["losses"], story))


def _pairs(losses: pd.DataFrame, story: Story) -> Iterator[tuple[Statement, Estimate | None]]:
    rl = story.rl
    if rl is None:
        return
    for start, result in rl.results.items():
        others = {start: "its own start"}
        others |= {c.results[start]: c.label for c in story.controls if start in c.results}
        for name, place in (("ID", ID), ("OOD", OOD)):
            ours = of_problems(losses, result, place)
            for other, label in others.items():
                theirs = of_problems(losses, other, place)
                if ours.empty or theirs.empty:  # not probed
                    continue
                loss, elsewhere = (
                    ("rl-raises-loss", "not-forgotten")
                    if other == start
                    else ("against-sft", "against-sft")
                )
                yield (
                    _statement(
                        loss,
                        f"{rl.label} from {start} ends at a higher loss than {label}, {name}",
                        PUBLISHED,
                    ),
                    weighted(
                        [(1, ours["loss"]), (-1, theirs["loss"])],
                        detail=", ".join(_part(part, ours, theirs) for part in PARTS),
                    ),
                )
                yield (
                    _statement(
                        elsewhere,
                        f"{rl.label} from {start} ends at a lower set loss than {label}, {name}",
                        "not measured",
                        side="below",
                    ),
                    weighted([(1, ours["set_loss"]), (-1, theirs["set_loss"])]),
                )
                yield (
                    _statement(
                        elsewhere,
                        f"{rl.label} from {start} moves probability from the demonstration to "
                        f"other right replies, more than {label}, {name}",
                        "not measured",
                    ),
                    weighted(
                        [
                            (1, ours["loss"]),
                            (-1, ours["set_loss"]),
                            (-1, theirs["loss"]),
                            (1, theirs["set_loss"]),
                        ]
                    ),
                )


def _part(part: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """`formula +0.12`: the mean difference of a part of the loss."""
    gap = ours[f"loss_{part}"].mean() - theirs[f"loss_{part}"].mean()
    return f"{part} {gap:+.2f}"
