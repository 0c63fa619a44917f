"""Non-decoupling of SFT and RL (arXiv 2601.07389): does each stage undo the other?

SFT's loss is minus the log-probability of *one* demonstration. Beside it stands the set loss, of
all right replies together: probability that moves to other right replies is not forgotten. The
other way round, SFT after RL is held against SFT on RL's own right replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from svdrift.findings.arms import NEGLIGIBLE, PLACES, UNKNOWN, Pairs
from svdrift.findings.finding import Finding, held
from svdrift.findings.paired import mean, of_problems, statement, weighted
from svdrift.findings.paper import Paper
from svdrift.story import Role, Story

PAPER = Paper(
    title="On the non-decoupling of supervised fine-tuning and reinforcement learning",
    arxiv="2601.07389",
    claims={
        "rl-raises-loss": "RL after SFT raises the loss of the demonstrations",
        "not-forgotten": "It does so without losing what was learned: probability moves to other "
        "right replies",
        "against-null": "RL's reward does it: RL with permuted rewards does it less",
        "against-sft": "Both also hold against SFT of the same size",
        "sft-lowers-reward": "SFT after RL lowers the reward",
        "its-data": "It does so because of the demonstrations: SFT on RL's own right replies "
        "costs none",
    },
    reads=("losses", "samples"),
    control="RL with permuted rewards, SFT of RL's size, and the loss of all right replies "
    "beside that of one.",
    limits="An arm of RL with a KL penalty, which the theory of both directions has, is missing. "
    "SFT after RL runs at RL's learning rate of 1e-4, not at SFT's of 2e-3. Where all rewards tie, "
    "SFT after RL cannot lower them, so the second theorem is tested as an observation. What SFT "
    "on RL's own replies costs alone does not tell why SFT on the demonstrations costs reward, so "
    "only their difference is judged. The paper has one model and names no seeds.",
)
PARTS = ("translation", "formula")
PUBLISHED = "confirmed on Qwen3-0.6B; no figures"

_of_losses = partial(statement, "losses", "nats")
_of_reward = partial(statement, "samples", "reward")
_of_solved = partial(statement, "samples", "points")


def findings(tables: Mapping[str, pd.DataFrame], story: Story) -> list[Finding]:
    """RL against its start, its null and its controls; and what comes after RL against RL."""
    losses, samples = tables["losses"], tables["samples"]
    return held([*_forwards(losses, story), *_signal(samples, story), *_backwards(samples, story)])


# --------------------------------------------------------------------------------------
# RL after SFT


def _forwards(losses: pd.DataFrame, story: Story) -> Pairs:
    rl = story.rl
    if rl is None:
        return
    beside = {
        "against-null": [story.rl_null] if story.rl_null else [],
        "against-sft": story.controls,
    }
    for start, result in rl.results.items():
        others = [(start, "its own start", "rl-raises-loss", "not-forgotten")]
        others += [
            (role.results[start], role.label, claim, claim)
            for claim, roles in beside.items()
            for role in roles
            if start in role.results
        ]
        for name, place in PLACES.items():
            ours = of_problems(losses, result, place)
            for other, label, loss, elsewhere in others:
                theirs = of_problems(losses, other, place)
                if ours.empty or theirs.empty:  # not probed
                    continue
                yield (
                    _of_losses(
                        loss,
                        f"{rl.label} from {start} ends at a higher loss than {label}, {name}",
                        PUBLISHED if other == start else UNKNOWN,
                    ),
                    weighted(
                        [(1, ours["loss"]), (-1, theirs["loss"])],
                        detail=", ".join(_part(part, ours, theirs) for part in PARTS),
                    ),
                )
                yield (
                    _of_losses(
                        elsewhere,
                        f"{rl.label} from {start} ends at a lower set loss than {label}, {name}",
                        UNKNOWN,
                        side="below",
                    ),
                    weighted([(1, ours["set_loss"]), (-1, theirs["set_loss"])]),
                )
                yield (
                    _of_losses(
                        elsewhere,
                        f"{rl.label} from {start} moves probability from the demonstration to "
                        f"other right replies, more than {label}, {name}",
                        UNKNOWN,
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


def _signal(samples: pd.DataFrame, story: Story) -> Pairs:
    """Whether the null really lacks what RL learns from; the claim is about losses."""
    rl, null = story.rl, story.rl_null
    if rl is None or null is None:
        return
    for start, end in null.results.items():
        for name, place in PLACES.items():
            ours, theirs = (reward(samples, one, place) for one in (rl.results[start], end))
            if ours.empty or theirs.empty:
                continue
            yield (
                _of_reward(
                    "against-null",
                    f"{rl.label} from {start} ends at a higher reward than {null.label}, {name}",
                    UNKNOWN,
                    description=True,
                ),
                weighted([(1, ours), (-1, theirs)]),
            )


# --------------------------------------------------------------------------------------
# SFT after RL


def reward(samples: pd.DataFrame, checkpoint: str, place: tuple[str, str]) -> pd.Series[float]:
    """Mean reward of the samples of each problem, in units of the verifier's."""
    rewards = of_problems(samples, checkpoint, place)["rewards"]
    return rewards.map(lambda values: float(np.mean(values))).astype(float)


def _solved(samples: pd.DataFrame, checkpoint: str, place: tuple[str, str]) -> pd.Series[float]:
    return of_problems(samples, checkpoint, place)["greedy_solved"].astype(float)


def _backwards(samples: pd.DataFrame, story: Story) -> Pairs:
    if not story.after:
        return
    first, *others = story.after  # the first is on demonstrations
    for name, place in PLACES.items():
        for run in first.results.items():
            yield from _lowers(samples, story, first, run, name, place)
        for other in others:
            for run in other.results.items():
                yield from _its_data(samples, first, other, run, name, place)


def _lowers(
    samples: pd.DataFrame,
    story: Story,
    role: Role,
    run: tuple[str, str],
    name: str,
    place: tuple[str, str],
) -> Pairs:
    """Against where it starts, and against the same SFT without RL before it.

    That is described: SFT that raises the reward less after RL than without does not lower it.
    """
    start, end = run
    before, after = (reward(samples, one, place) for one in (start, end))
    if before.empty or after.empty:
        return
    told = f"{role.label} from {start}"
    yield (
        _of_reward(
            "sft-lowers-reward", f"{told} lowers the reward, {name}", PUBLISHED, side="below"
        ),
        weighted(
            [(1, after), (-1, before)],
            detail=_along(samples, (start, *role.kept[start]), place),
        ),
    )
    solved = [_solved(samples, one, place) for one in (end, start)]
    yield (
        _of_solved(
            "sft-lowers-reward",
            f"{told} lowers the share that is solved greedily, {name}",
            UNKNOWN,
            side="below",
        ),
        weighted(
            [(1, solved[0]), (-1, solved[1])],
            scale=100,
            detail=f"{mean(solved[1])} to {mean(solved[0])} %",
        ),
    )
    starts = {result: own for own, result in story.rl.results.items()} if story.rl else {}
    own = starts.get(start)
    for control in story.controls:
        if own is None or own not in control.results:
            continue
        without = [reward(samples, one, place) for one in (control.results[own], own)]
        if any(one.empty for one in without):
            continue
        yield (
            _of_reward(
                "sft-lowers-reward",
                f"{told} raises the reward less, or lowers it more, than {control.label} does from "
                f"{own}, {name}",
                UNKNOWN,
                side="below",
                description=True,
            ),
            weighted([(1, after), (-1, before), (-1, without[0]), (1, without[1])]),
        )


def _its_data(
    samples: pd.DataFrame,
    first: Role,
    other: Role,
    run: tuple[str, str],
    name: str,
    place: tuple[str, str],
) -> Pairs:
    """SFT on other replies than the demonstrations, from the same start: alone, and against it."""
    start, end = run
    before, after = (reward(samples, one, place) for one in (start, end))
    if before.empty or after.empty:
        return
    yield (
        _of_reward(
            "its-data",
            f"{other.label} from {start} lowers the reward, {name}",
            UNKNOWN,
            side="below",
            description=True,
        ),
        weighted(
            [(1, after), (-1, before)],
            detail=_along(samples, (start, *other.kept[start]), place),
        ),
    )
    solved = [_solved(samples, one, place) for one in (end, start)]
    yield (
        _of_solved(
            "its-data",
            f"{other.label} from {start} costs less than {NEGLIGIBLE:g} points of what is solved "
            f"greedily, {name}",
            UNKNOWN,
            bound=-NEGLIGIBLE,
            description=True,
        ),
        weighted([(1, solved[0]), (-1, solved[1])], scale=100, bound=-NEGLIGIBLE),
    )
    demonstrated = reward(samples, first.results.get(start, ""), place)
    if demonstrated.empty:
        return
    yield (
        _of_reward(
            "its-data",
            f"{other.label} from {start} ends at a higher reward than {first.label}, {name}",
            UNKNOWN,
        ),
        weighted([(1, after), (-1, demonstrated)]),
    )


def _along(samples: pd.DataFrame, checkpoints: Iterable[str], place: tuple[str, str]) -> str:
    """`1.63 at sft-16.ppo-60, 1.74 at sft-16.ppo-60.after-4`: mean rewards, of those sampled."""
    rewards = [(one, reward(samples, one, place)) for one in checkpoints]
    return ", ".join(f"{one.mean():.2f} at {id}" for id, one in rewards if not one.empty)
