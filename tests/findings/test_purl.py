"""PuRL's statements against numbers worked out by hand."""

import pandas as pd
import pytest

from svdrift.findings.papers import purl

LABELS = {"dqn": "the agent", "uniform": "one share", "dqn_at_end": "the late agent"}


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


def searches(scores):
    rows = [
        (seed, method, number, score)
        for seed in range(3)
        for method, found in scores.items()
        for number, score in enumerate(found, 1)
    ]
    table = pd.DataFrame(rows, columns=["seed", "method", "evaluation", "score"])
    return table.assign(fits=table["score"] > 0, choice="repair")


def test_statements_by_hand():
    tables = {
        "rank_episodes": episodes({"uniform": 2, "dqn": 9, "dqn_at_end": 5}),
        "rank_searches": searches({"dqn": [-1, 1, 11, 11], "dqn_at_end": [2, 3, 4, 6]}),
    }
    found = {one.statement: one for one in purl.findings(tables, None)}
    more = found["Ranks by the agent solve more than by one share, repair, OOD"]
    assert (more.claim, more.estimate, more.verdict) == ("agent", pytest.approx(70), "holds")
    late = found["Ranks by the agent solve more than by the late agent, repair, ID"]
    assert (late.claim, late.estimate) == ("dense", pytest.approx(40))
    sooner = found[
        "95 % of what a search gains takes fewer evaluations of the agent than the late agent, "
        "repair"
    ]
    assert sooner.each == (-1, -1, -1)  # 3 against 4
    assert sooner.verdict == "holds"
    best = found[
        "The best ranks score higher on selection problems by the agent than the late agent, repair"
    ]
    assert best.each == (5, 5, 5)
    assert {one.claim for one in found.values()} == {"agent", "dense"}


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 3), (0.95, 4), (1.0, 4)])
def test_evaluations_to_reach(share, wanted):
    table = searches({"dqn": [-1, 1, 6, 11, 3]})
    assert purl.evaluations_to_reach(share, table).to_list() == [wanted] * 3
