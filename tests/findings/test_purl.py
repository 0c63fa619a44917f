"""PuRL's statements against numbers worked out by hand."""

import pandas as pd
import pytest

from svdrift.findings.papers import purl
from svdrift.ranks.score import UNITS

LABELS = {"dqn": "the agent", "uniform": "one", "dqn_at_end": "the late agent", "mine": "my own"}


def episodes(solved):
    """Ten groups of one problem each, in three seeds; every method solves so many of them."""
    rows = [
        (seed, method, problem, problem < count)
        for seed in range(3)
        for method, count in solved.items()
        for problem in range(10)
    ]
    table = pd.DataFrame(rows, columns=["seed", "method", "problem", "solved"])
    table["label"] = table["method"].map(LABELS)
    table = table.assign(group=table["problem"], choice="repair", task="repair", role="test")
    return pd.concat([table.assign(shift=shift) for shift in ("id", "ood")])


def searches(scores, measured="hits"):
    rows = [
        (seed, method, number, score)
        for seed in range(3)
        for method, found in scores.items()
        for number, score in enumerate(found, 1)
    ]
    table = pd.DataFrame(rows, columns=["seed", "method", "evaluation", "score"])
    table["label"] = table["method"].map(LABELS)
    return table.assign(fits=table["score"] > 0, choice="repair", measured=measured)


def about(solved, scores, measured="hits"):
    tables = {"rank_episodes": episodes(solved), "rank_searches": searches(scores, measured)}
    return {one.statement: one for one in purl.findings(tables, None)}


AGENT, LATE = "DQN (reward at every step)", "DQN (reward at the end)"


def test_statements_by_hand():
    found = about(
        {"uniform": 2, "dqn": 9, "dqn_at_end": 5, "mine": 4},
        {"dqn": [-1, 1, 11, 11], "dqn_at_end": [2, 3, 4, 6], "mine": [8, 8, 9, 20]},
    )
    more = found[f"Ranks chosen by {AGENT} solve more than a uniform share; repair, OOD"]
    assert (more.claim, more.estimate, more.verdict) == ("agent", pytest.approx(70), "holds")
    late = found[f"Ranks chosen by {AGENT} solve more than {LATE}; repair, ID"]
    assert (late.claim, late.estimate) == ("agent", pytest.approx(40))
    mine = found["Ranks chosen by my own solve more than a uniform share; repair, ID"]
    assert (mine.claim, mine.estimate) == ("per_matrix", pytest.approx(20))
    (sooner,) = (one for one in found.values() if one.claim == "dense")
    assert sooner.statement == (
        f"{AGENT} takes fewer evaluations than {LATE} for 95 % of what its search gains; repair"
    )
    assert sooner.each == (-1, -1, -1)  # 3 against 4
    assert sooner.verdict == "holds"


def test_what_searches_find_on_selection_problems_is_described():
    found = about({"dqn": 9}, {"dqn": [11, 1], "dqn_at_end": [2, 6], "mine": [-1, 20]})
    best = f"The best ranks of {AGENT} score higher on selection problems than those of"
    for rival, gap in ((LATE, 5), ("my own", -9)):
        one = found[f"{best} {rival}; repair"]
        assert (one.each, one.verdict, one.unit) == ((gap, gap, gap), "described", "")
    found = about({"dqn": 9}, {"dqn": [0.5, 0.1], "mine": [-1, 0.25]}, "share solved")
    one = found[f"{best} my own; repair"]
    assert (one.estimate, one.unit) == (pytest.approx(25), "points")


def test_a_rival_that_solves_nothing_is_none():
    found = about({"dqn": 5, "uniform": 0, "mine": 5}, {})
    one = found[f"Ranks chosen by {AGENT} solve more than a uniform share; repair, ID"]
    assert (one.verdict, one.estimate) == ("described", pytest.approx(50))
    assert one.detail.endswith("a rival that solves nothing")
    against = found[f"Ranks chosen by {AGENT} solve more than my own; repair, ID"]
    assert against.verdict != "described"


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 3), (0.95, 4), (1.0, 4)])
def test_evaluations_to_reach(share, wanted):
    table = searches({"dqn": [-1, 1, 6, 11, 3]})
    assert purl.evaluations_to_reach(share, table).to_list() == [wanted] * 3


def test_every_score_has_its_unit():
    assert set(purl.SCORES) == set(UNITS.values())
