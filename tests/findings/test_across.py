"""Statements of several studies side by side, by hand."""

import numpy as np
import pandas as pd

from svdrift.findings.across import labels, lines, side_by_side

SIZES = [
    {"stages.base.architecture": {"layers": 4, "hidden_size": 48, "heads": 2}},
    {"stages.base.architecture": {"layers": 4, "hidden_size": 96, "heads": 2}},
]


def findings(**estimates):
    """A statement for each name, whose bound is 1."""
    return pd.DataFrame(
        {
            "claim": "rl",
            "statement": list(estimates),
            "estimate": list(estimates.values()),
            "low": [value - 0.5 for value in estimates.values()],
            "high": [value + 0.5 for value in estimates.values()],
            "verdict": ["holds" if value > 2 else "undecided" for value in estimates.values()],
            "verdict_holm": "undecided",
            "unit": "points",
            "bound": 1.0,
        }
    )


def test_points_are_called_by_what_tells_them_apart():
    assert labels(SIZES) == ["hidden_size 48", "hidden_size 96"]
    assert labels([{"a.rate": 0.1, "b.kind": "x"}, {"a.rate": 0.2, "b.kind": "x"}]) == [
        "rate 0.1, kind x",
        "rate 0.2, kind x",
    ]
    alike = [{"a.shape": {"x": 1, "y": n % 2}} for n in range(3)]
    assert labels(alike)[0] == 'shape {"x": 1, "y": 0}'


def test_a_sign_is_that_of_the_distance_to_the_bound():
    table = side_by_side(
        {
            "small": findings(stays=3.0, turns=3.0, alone=2.0, gone=np.nan),
            "large": findings(stays=1.1, turns=0.9, gone=2.0, other=2.0),
        }
    ).set_index("statement")
    assert table["same_sign"].to_dict() == {
        "stays": 1,
        "turns": 0,
        "alone": -1,
        "gone": -1,
        "other": -1,
    }
    assert table.loc["turns", "estimate large"] == 0.9
    text = "\n".join(lines(table.reset_index(), ["small", "large"], "size"))
    assert "1 of 2 statements" in text
    assert "| rl | stays | +3.0 points [2.5, 3.5]<br>✔ holds † | +1.1 points [0.6, 1.6]" in text
    assert "| rl | alone | +2.0 points [1.5, 2.5]<br>? undecided | not measured | – |" in text
