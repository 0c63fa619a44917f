"""Out-of-sample R² against lines fitted one by one, and how often it finds what is not there."""

import numpy as np
import pandas as pd
import pytest

from svdrift.findings.prediction import explained, explained_more


def series(values):
    """By seed (rows) and start (columns)."""
    table = pd.DataFrame(values)
    return table.stack()


def study(rng, slope, seeds=5, starts=6):
    x = rng.normal(size=(seeds, starts))
    return series(x), series(slope * x + rng.normal(size=(seeds, starts)))


def test_it_is_the_error_of_lines_fitted_to_the_other_seeds():
    before, after = study(np.random.default_rng(0), slope=2.0)
    errors, spread = [], []
    for seed in range(5):
        x, y = before.drop(seed, level=0), after.drop(seed, level=0)
        slope, height = np.polyfit(x, y, 1)
        errors.append(((after[seed] - slope * before[seed] - height) ** 2).sum())
        spread.append(((after[seed] - y.mean()) ** 2).sum())
    found = explained(before, after, "runs")
    assert found.estimate == pytest.approx(1 - sum(errors) / sum(spread))
    assert found.each == pytest.approx(1 - np.array(errors) / np.array(spread))
    assert found.n == 30
    assert found.low < found.estimate < found.high <= 1
    assert (found.exact_p < 0.05) == (found.low > 0)


def test_a_line_is_found_and_nothing_is_told_by_a_constant():
    before, _ = study(np.random.default_rng(1), slope=1.0)
    perfect = explained(before, 3 * before + 1, "runs")
    assert perfect.estimate == pytest.approx(1)
    assert (perfect.low, perfect.high) == (pytest.approx(1), pytest.approx(1))
    assert explained(0 * before, before, "runs").estimate == pytest.approx(0)
    assert explained(before, 0 * before, "runs") is None
    assert explained(before.loc[[0]], before.loc[[0]], "runs") is None


def test_the_difference_is_that_of_both():
    rng = np.random.default_rng(2)
    before, after = study(rng, slope=1.0)
    other = before + series(rng.normal(size=(5, 6)))
    found = explained_more(before, other, after, "runs")
    alone = [explained(one, after, "runs").estimate for one in (before, other)]
    assert found.estimate == pytest.approx(alone[0] - alone[1])
    assert explained_more(before, before, after, "runs").estimate == 0


def test_it_rarely_finds_what_is_not_there():
    rng = np.random.default_rng(3)
    lows, differences = [], []
    for _ in range(400):
        before, after = study(rng, slope=0.0)
        other = series(rng.normal(size=(5, 6)))
        lows.append(explained(before, after, "runs").low)
        more = explained_more(before, other, after, "runs")
        differences.append(more.low > 0 or more.high < 0)
    assert np.mean(np.array(lows) > 0) < 0.025
    assert np.mean(differences) < 0.08


def test_it_finds_what_is_there():
    rng = np.random.default_rng(4)
    found = [explained(*study(rng, slope=3.0), "runs").low > 0 for _ in range(50)]
    assert np.mean(found) > 0.9
