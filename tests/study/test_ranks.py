"""The section `ranks:`: what it resolves to, and what it refuses."""

import pytest

from svdrift.errors import UserError
from tests.study.studies import study

REPAIR = {"task": "repair", "target": "last", "anchor": "sft@16", "cost": 0.2}
KEEP = {"task": "keep", "target": "anchor", "cost": 0.7}


def test_checkpoints_are_resolved_and_decomposed():
    found = study({"ranks": {"one": REPAIR, "two": KEEP, "three": None}, "spectra": {"pairs": []}})
    assert list(found.rank_choices) == ["one", "two"]
    assert found.rank_choices["one"].checkpoints == ("sft-256", "sft-16")
    assert found.rank_choices["two"].checkpoints == ("anchor",)
    assert {"sft-256", "sft-16"} <= set(found.decomposed)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"task": "prune"}, "ranks.one.task"),
        ({"anchor": None}, "ranks.one.*anchor: repair needs one"),
        ({"task": "keep"}, "ranks.one.*anchor: keep has none"),
        ({"target": "sft@5"}, r"ranks.one.target: .*sft@5"),
        ({"cost": 1}, "ranks.one.cost"),
        ({"choices": [0.5, 0.2, 1]}, "choices: shares from 0 that rise to 1"),
        ({"choices": [0, 0.5]}, "choices: shares from 0 that rise to 1"),
        ({"choices": [0.3, 1]}, "choices: the lowest, 0.3, costs more than 0.2"),
        ({"methods": ["unifrom"]}, r"methods: 'unifrom' is unknown, did you mean 'uniform'\?"),
        ({"methods": ["energy", "energy"]}, "methods: different ones"),
        ({"evaluations": 0}, "ranks.one.evaluations"),
        ({"shares": 3}, "unknown key 'ranks.one.shares'"),
    ],
)
def test_refuses(changed, says):
    with pytest.raises(UserError, match=says):
        study({"ranks": {"one": REPAIR | changed}})


def test_a_name_is_checked():
    with pytest.raises(UserError, match=r"ranks.One: not a name"):
        study({"ranks": {"One": REPAIR}})
    with pytest.raises(UserError, match="would be in the name of a file"):
        study({"ranks": {"a" * 300: REPAIR}})


def test_a_paper_that_reads_ranks_needs_both_tasks():
    with pytest.raises(UserError, match="papers: purl reads choices of ranks of task 'keep'"):
        study({"ranks": {"one": REPAIR}, "papers": ["purl"]})
    assert study({"ranks": {"a": REPAIR, "b": KEEP}, "papers": ["purl"]}).evidence == {"purl": {}}
