"""Problems dealt without a workflow are those of a study."""

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tasks.dealing import chosen_splits, deal, read_task
from tests.tasks.test_tasks import deal as deal_all

SMALL = {
    "hands": {"demonstrations": 192, "practice": 64, "selection": 16, "test": 16,
              "demonstrated_test": 16},
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 3])
def test_the_tests_are_those_of_a_study(seed):
    settings = read_task("general_points", SMALL)
    wanted = deal_all(settings, seed)
    splits = chosen_splits(settings, [])
    assert [split.name for split in splits] == ["id_test", "ood_test"]
    found = deal(settings, splits, seed)
    assert list(found) == ["id_test", "ood_test"]
    for name, table in found.items():
        pd.testing.assert_frame_equal(table, wanted[name])
    assert len(deal(settings, splits, seed, 5)["ood_test"]) == 5


def test_a_training_split_can_be_asked_for():
    settings = read_task("general_points", SMALL)
    name = next(split.name for split in settings.splits if split.role == "training")
    found = deal(settings, chosen_splits(settings, [name]), 0)
    pd.testing.assert_frame_equal(found[name], deal_all(settings)[name])


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("chess", {}, "'chess' is unknown"),
        ("general_points", {"targte": 3}, "task: unknown key 'targte'"),
        ("general_points", {"target": "x"}, "task: key 'target' must be"),
    ],
)
def test_refuses_settings(name, given, says):
    with pytest.raises(UserError, match=says):
        read_task(name, given)


def test_refuses_splits():
    settings = read_task("general_points", SMALL)
    with pytest.raises(UserError, match="splits: 'test' is none of demonstrations, "):
        chosen_splits(settings, ["test"])
