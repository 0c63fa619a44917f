"""Verdicts of comparisons, on tables made by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from svdrift.findings.turned import verdict
from svdrift.spectra.comparison import grouped

LAYERS, MODULES = 3, ("q", "up")
COUNT = LAYERS * len(MODULES)


def tables(
    isotropic: list[float], kept: list[float], angle: float = 5.0, moved: int = 1, turned: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Changes of six matrices with these p against each null, and their groups."""
    rows = pd.DataFrame(
        {
            "layer": [layer for layer in range(LAYERS) for _ in MODULES],
            "module": list(MODULES) * LAYERS,
            "angle": angle,
            "isotropic": 3.0,
            "inputs_kept": 4.0,
            "p_isotropic": isotropic,
            "p_inputs_kept": kept,
            "matrices": 1,
            "moved": moved,
            "turned": turned,
        }
    ).astype({"layer": "Int64"})
    counts = [
        f"{which}_{null}" for null in ("isotropic", "inputs_kept") for which in ("more", "less")
    ]
    rows = rows.assign(**dict.fromkeys(counts, 0))
    rows = rows.assign(more_isotropic=[int(p < 0.05) for p in isotropic])
    means = [
        "unrelated",
        "excess",
        "value_change",
        "value_noise",
        "update",
        "energy",
        "energy_even",
    ]
    rows = rows.assign(**dict.fromkeys(means, 1.0))
    return rows, grouped(rows)


def means(isotropic: float, kept: float, difference: float = 2.0) -> pd.DataFrame:
    nulls = ["isotropic", "inputs_kept"]
    return pd.DataFrame({"null": nulls, "p": [isotropic, kept], "difference": difference})


NOTHING = [0.5] * COUNT
ROWS = {
    # 0.01 is below 0.05, but not after Holm's correction for 12 tests at half of 0.05
    "one in many": (([0.01, *NOTHING[1:]], NOTHING), means(0.3, 0.3), "noise", []),
    "a mean alone": (
        (NOTHING, NOTHING),
        means(0.001, 0.3),
        "further",
        ["than isotropic noise of the update's size, but not clearly further than noise that keeps",
         "no single matrix does: none of 6 lie above the 95 % interval of isotropic noise",
         "none once their number is allowed for (more --draws may tell one apart, but need not)."],
    ),
    "a matrix alone": (
        ([0.001, *NOTHING[1:]], NOTHING),
        means(0.3, 0.3),
        "further",
        ["1 of 6 matrices; q 1 of 3; layer 0 1 of 2"],
    ),
    "both nulls": (
        ([1e-4] * COUNT, [1e-4, 1e-4, *NOTHING[2:]]),
        means(1e-4, 1e-4),
        "further",
        ["size and noise that keeps the update's inputs, allowing for 6 matrices and 2 nulls",
         "2 of 6 matrices; q 1 of 3, up 1 of 3; layer 0 2 of 2",
         "+2.0° against noise that keeps the update's inputs"],
    ),
    "missing tests do not count": (
        ([0.001, *[float("nan")] * (COUNT - 1)], [float("nan")] * COUNT),
        means(0.3, 0.3),
        "further",
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("p", "average", "which", "says"), ROWS.values(), ids=ROWS)
def test_verdicts(p, average, which, says):
    changes, groups = tables(*p)
    found = verdict(changes, groups, average)
    assert found.which == which
    text = "\n".join(found.words)
    assert text.startswith("Verdict: ")
    for part in says:
        assert part in text, text


def test_less_far():
    changes, groups = tables([1e-4] * COUNT, NOTHING, angle=0.5)
    found = verdict(changes, groups, means(1e-4, 0.5, difference=-2.0))
    assert found.which == "less far"
    assert len(found.matrices) == COUNT
    assert "lies along directions that are there" in "\n".join(found.words)


def test_noise_is_counted_against_chance():
    changes, groups = tables([0.04, *NOTHING[1:]], NOTHING)
    words = "\n".join(verdict(changes, groups, means(0.3, 0.3)).words)
    assert "indistinguishable from noise" in words
    assert "1 of 6 matrices lie outside the 95 % interval of isotropic noise" in words
    assert "allowing for 6 matrices and 2 nulls" in words


@pytest.mark.parametrize(
    ("given", "which"), [({"moved": 0}, "unchanged"), ({"turned": 0}, "no directions")]
)
def test_nothing_to_judge(given, which):
    changes, groups = tables(NOTHING, NOTHING, **given)
    assert verdict(changes, groups, means(0.3, 0.3)).which == which
