"""Calibration: by hand, by another way to compute it, and the width of its interval."""

import numpy as np
import pytest

from svdrift.evaluation.calibration import (
    bootstrap_error,
    brier,
    calibration_error,
    reliability,
)


def test_bins_have_equal_mass():
    confidence = np.linspace(0, 1, 60)
    table = reliability(confidence, np.ones(60), range(60), bins=6)
    assert list(table["n"]) == [10] * 6
    assert table["confidence"].to_list() == pytest.approx(confidence.reshape(6, 10).mean(axis=1))
    assert set(table["accuracy"]) == {1.0}
    assert (table["low"] < 1).all()
    assert set(table["high"]) == {1.0}


def test_replies_of_one_group_count_as_one():
    correct = [1, 1, 1, 0, 0, 0] * 4
    alone, pairs = (
        reliability([0.5] * 24, correct, groups).iloc[0]
        for groups in (range(24), np.arange(24) // 3)
    )
    assert (alone["n"], alone["accuracy"]) == (pairs["n"], pairs["accuracy"]) == (24, 0.5)
    assert pairs["high"] - pairs["low"] > 1.4 * (alone["high"] - alone["low"])


def test_the_error_by_hand():
    confidence, correct = [0.1, 0.3, 0.7, 0.9], [0, 1, 1, 0]
    # Two bins: confidences 0.2 and 0.8, accuracies 0.5 and 0.5.
    assert calibration_error(confidence, correct, bins=2) == pytest.approx(0.3)
    assert calibration_error(confidence, correct, bins=1) == pytest.approx(0.0)
    assert brier(confidence, correct) == pytest.approx([0.01, 0.49, 0.09, 0.81])


def test_equal_confidences_share_a_bin_whatever_their_order():
    confidence = [0.5] * 6 + [1.0] * 6
    correct = np.array([1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0])
    table = reliability(confidence, correct, range(12))
    assert list(table["n"]) == [6, 6]
    order = np.random.default_rng(0).permutation(12)
    shuffled = calibration_error(np.array(confidence)[order], correct[order])
    assert calibration_error(confidence, correct) == pytest.approx(shuffled)
    assert shuffled == pytest.approx((0 + abs(1 - 5 / 6)) / 2)


def test_a_calibrated_model_has_next_to_no_error():
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000)
    assert calibration_error(confidence, rng.random(20_000) < confidence) < 0.02
    assert calibration_error(confidence, rng.random(20_000) < confidence / 2) == pytest.approx(
        0.25, abs=0.02
    )


def test_the_bootstrap_draws_whole_groups():
    """Of a mean over groups of equal size it tends to the usual standard error."""
    rng = np.random.default_rng(1)
    levels = rng.normal(size=200)
    values = np.repeat(levels, 5)  # nothing varies within a group
    groups = np.repeat(np.arange(200), 5)
    found = bootstrap_error(lambda rows: values[rows].mean(), groups, resamples=2000)
    assert found == pytest.approx(levels.std() / np.sqrt(200), rel=0.06)
    again = bootstrap_error(lambda rows: values[rows].mean(), groups, resamples=2000)
    assert again == found
