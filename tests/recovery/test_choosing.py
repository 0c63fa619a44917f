"""Which repairs are tried, and what is said of the one that was chosen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.recovery.choosing import candidates, in_words, interpolations, lowest
from svdrift.recovery.interventions import Intervention


@pytest.mark.parametrize(
    ("kind", "depth", "given", "count", "holds"),
    [
        ("directions", 4, {}, 12, "directions-top0.2-layers0-0.5"),
        ("directions", 1, {}, 8, "directions-top0.2-layers0-0.5"),  # the second half has no layer
        ("directions", 4, {"top": 0.3}, 3, "directions-top0.3-layers0.5-1"),
        ("directions", 4, {"layers": (0.0, 0.25)}, 4, "directions-top0.5-layers0-0.25"),
        ("directions", 4, {"top": 0.3, "layers": (0.5, 1.0)}, 1, "directions-top0.3-layers0.5-1"),
        ("directions", 4, {"bottom": 0.3}, 9, "directions-top0.5-bottom0.3"),
        ("directions", 4, {"modules": ["q", "k"]}, 12, "directions-top0.1-q_k"),
        ("values", 4, {"embedding_and_head": False}, 12, "values-top1-inside"),
        ("interpolate", 4, {}, 9, "interpolate-weight0.75-layers0-0.5"),
        ("interpolate", 4, {"weight": 0.1}, 3, "interpolate-weight0.1"),
        ("trim", 4, {}, 9, "trim-weight0.25"),
        ("reset", 4, {}, 3, "reset-layers0.5-1"),
    ],
)
def test_what_is_given_is_kept_and_the_rest_is_tried(kind, depth, given, count, holds):
    found = candidates(kind, depth, **given)
    assert len({one.id for one in found}) == len(found) == count
    assert holds in {one.id for one in found}
    assert all(one.chosen_layers(depth) for one in found)


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("directions", {"top": 2.0}, "top, bottom: shares of the rank"),
        ("interpolate", {"top": 0.2}, "top, bottom: interpolate takes whole matrices"),
        ("directions", {"weight": 0.2}, "weight: directions has none"),
        ("none", {}, "'none' is unknown"),
    ],
)
def test_refuses_what_does_not_belong_to_the_kind(kind, given, says):
    with pytest.raises(UserError, match=says):
        candidates(kind, 4, **given)


def test_interpolation_is_of_the_same_modules_in_the_same_layers():
    those = [
        Intervention("directions", top, layers=layers, modules=("q",), embedding_and_head=False)
        for top in (0.1, 0.2)
        for layers in ((0.0, 0.5), (0.0, 1.0))
    ]
    assert [one.id for one in interpolations(those, 0.5, 1.0)] == [
        "interpolate-weight0.5-layers0-0.5-q-inside",
        "interpolate-weight1-layers0-0.5-q-inside",
        "interpolate-weight0.5-q-inside",
        "interpolate-weight1-q-inside",
    ]


def test_the_lowest_loss_is_over_all_windows():
    one, two, three = interpolations([Intervention("reset")], 0.1, 0.2, 0.3)
    losses = {one: np.array([0.0, 4.0]), two: np.array([2.0, 1.0]), three: np.array([3.0, 0.0])}
    assert lowest(losses) == two


@pytest.mark.parametrize(
    ("difference", "low", "high", "says"),
    [
        (-0.2, -0.3, -0.1, "-0.2000 [-0.3000, -0.1000]: the chosen repair has the lower loss."),
        (0.2, 0.1, 0.3, "plain interpolation has the lower loss (--kind interpolate)."),
        (0.0, -0.1, 0.1, "no clear difference, and plain interpolation is simpler"),
        (-0.1, float("nan"), float("nan"), "no clear difference"),
    ],
)
def test_what_plain_interpolation_gives_is_said(difference, low, high, says):
    columns = ["model", "loss", "difference", "difference_low", "difference_high", "n"]
    rows = [
        ["target", 2.0, np.nan, np.nan, np.nan, 9],
        ["anchor", 1.5, -0.5, -0.6, -0.4, 9],
        ["chosen", 1.75, -0.25, -0.3, -0.2, 9],
        ["interpolation", 1.8, -0.2, -0.3, -0.1, 9],
    ]
    table = pd.DataFrame(rows, columns=columns)
    against = pd.Series({"difference": difference, "difference_low": low, "difference_high": high})
    chosen = Intervention("directions", 0.2)
    (plain,) = interpolations([chosen], 0.5)
    words = in_words(chosen, plain, 12, 9, table, table, against, "documents")
    assert words[0] == (
        "Chosen on every other document of the text (the first, the third, …): directions-top0.2, "
        "the best of 12 with a loss of 1.7500 (the target's is 2.0000)."
    )
    assert (
        "On the others, which chose nothing (n = 9 documents): 1.7500 nats per token, "
        "-0.2500 [-0.3000, -0.2000]"
    ) in words[1]
    assert "Plain interpolation, interpolate-weight0.5, the best of 9 chosen" in words[2]
    assert "gives 1.8000" in words[2]
    assert says in words[2]
    first, second, *_ = in_words(chosen, plain, 12, 9, table, table, against, "windows")
    assert first.startswith("Chosen on the first half of the text's only document: directions-")
    assert second.startswith("On its second half, which chose nothing (n = 9 windows): 1.7500 ")
    assert len(in_words(plain, plain, 3, 3, table, table, against, "documents")) == 2


def test_a_text_that_does_not_show_what_was_lost_is_told():
    columns = ["model", "loss", "difference", "difference_low", "difference_high", "n"]
    rows = [
        ["target", 2.0, np.nan, np.nan, np.nan, 9],
        ["anchor", 1.99, -0.01, -0.03, 0.01, 9],
        ["chosen", 1.9, -0.1, -0.2, -0.05, 9],
    ]
    table = pd.DataFrame(rows, columns=columns)
    (plain,) = interpolations([Intervention("reset")], 0.5)
    words = in_words(plain, plain, 3, 3, table, table, pd.Series(dtype=float), "documents")
    assert "does not show what was lost" in words[2]
