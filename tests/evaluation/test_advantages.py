"""Advantages of groups of samples, by hand."""

import numpy as np
import pandas as pd
import pytest

from svdrift.evaluation.advantages import advantage_entropy, advantages, flat_share


def test_flat_groups():
    rewards = pd.Series([[1.0] * 8 + [0.0] * 8, [1.0, 0.0] * 8, [1.0] * 7 + [0.0] + [2.0] * 8])
    assert flat_share(rewards, 8).to_list() == [1.0, 0.0, 0.5]


def test_an_advantage_is_relative_to_its_group():
    found = advantages([[1.0, 3.0, 0.0, 0.0, 9.0], [5.0, 7.0]], size=2)  # the fifth is left over
    assert found.tolist() == [-1, 1, 0, 0, -1, 1]


def test_entropy_counts_equally_filled_bins():
    assert advantage_entropy([[1.0, 1.0], [3.0, 3.0]], size=2) == 0.0
    assert advantage_entropy([[0.0, 1.0]], size=2) == pytest.approx(1.0)  # half below, half above
    four = [[0.0, 1.0], [0.0, 3.0]]  # -1.5, -0.5, 0.5 and 1.5
    assert advantage_entropy(four, size=2) == pytest.approx(2.0)
    assert advantage_entropy([[3 * r for r in one] for one in four], size=2) == pytest.approx(2.0)


def test_what_lies_beyond_counts_in_the_outermost_bins():
    rare = [[0.0] * 19 + [1.0]] * 3  # far above: 4.4 standard deviations
    share = 1 / 20
    expected = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert advantage_entropy(rare, size=20) == pytest.approx(expected)
