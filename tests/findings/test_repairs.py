"""Prevent, repair or retrain: what is chosen, and the simplest remedy, by hand."""

import pandas as pd
import pytest

from svdrift.figures import remedies
from svdrift.findings.papers import repairs
from tests.findings.test_papers import STORY

# Of ten hands each, by (role, shift).
PLAIN, HALF, TRIM, RANDOM = (
    "interpolate-weight0.25",
    "interpolate-weight0.5",
    "trim-weight0.5",
    "random_directions-top1",
)
KINDS = {PLAIN: "interpolate", HALF: "interpolate", TRIM: "trim", RANDOM: "random_directions"}
ARMS = {
    "last": "sft-64",
    "slow": "a-1",
    "stopped": "b-1",
    "averaged": "e-1",
    "replay": "f-1",
    "held": "g-1",
    "rl": "c-1",
    "control": "d-1",
}
SEEDS, HANDS = range(3), range(10)


def table(column, solved):
    """Each hand is a group; `solved`: name -> {(role, shift): how many of them, the first}."""
    found = [
        (seed, name, *place, hand, hand, hand < count)
        for name, places in solved.items()
        for place, count in places.items()
        for seed in SEEDS
        for hand in HANDS
    ]
    return pd.DataFrame(
        found, columns=["seed", column, "role", "shift", "group", "problem", "solved"]
    )


def places(selection, test):
    """Solved ID and OOD hands for selection, and for test."""
    return {
        ("selection", "id"): selection[0],
        ("selection", "ood"): selection[1],
        ("test", "id"): test[0],
        ("test", "ood"): test[1],
    }


def tables(repaired, arms):
    solved = table("intervention", repaired)
    solved = solved.assign(kind=solved["intervention"].map(KINDS), repair="last-with-anchor")
    scores = table("checkpoint", arms).rename(columns={"solved": "valid"})
    return {"scores": scores, "recovery_solved": solved}


def judged(repaired, arms):
    read = tables(repaired, arms)
    found = repairs.findings(read, STORY.model_copy(update={"arms": ARMS}))
    return {one.statement: one for one in found}, read["recovery_solved"]


REPAIRED = {
    "target": places((9, 0), (9, 0)),
    "anchor": places((4, 6), (4, 6)),
    PLAIN: places((8, 2), (8, 9)),  # the test hands must not choose
    HALF: places((6, 5), (7, 5)),
    TRIM: places((9, 5), (9, 6)),
    RANDOM: places((1, 1), (1, 0)),
}
ARM_SOLVED = {
    "sft-64": places((9, 0), (9, 0)),
    "a-1": places((8, 1), (8, 1)),
    "b-1": places((5, 5), (5, 3)),
    "c-1": places((9, 1), (9, 2)),
    "d-1": places((9, 0), (9, 1)),
    "e-1": places((5, 5), (5, 3)),
    "f-1": places((5, 5), (5, 3)),
    "g-1": places((5, 5), (5, 3)),
}


def test_the_setting_is_chosen_on_selection_hands_alone():
    _, solved = judged(REPAIRED, ARM_SOLVED)
    chosen = repairs.best_settings(solved)
    assert chosen == {"interpolate": HALF, "trim": TRIM, "random_directions": RANDOM}
    assert list(repairs.by_simplicity(chosen)) == ["interpolate", "trim", "random_directions"]
    assert next(iter(repairs.by_simplicity(dict(reversed(chosen.items()))))) == "interpolate"


def test_statements_by_hand():
    found, _ = judged(REPAIRED, ARM_SOLVED)
    regained = found[f"{TRIM} solves more than its target, OOD"]
    assert (regained.estimate, regained.verdict) == (pytest.approx(60), "holds")
    assert regained.detail == "60.0 against 0.0 %; anchor 60.0 %"
    kept = found[f"{TRIM} solves at most 2 points less than its target, ID"]
    assert (kept.estimate, kept.bound, kept.verdict) == (0, -2, "undecided")
    lost = found[f"{HALF} solves at most 2 points less than its target, ID"]
    assert lost.estimate == pytest.approx(-20)
    more = found[f"{TRIM} solves more than {HALF}, OOD"]
    assert (more.claim, more.estimate) == ("elaborate", pytest.approx(10))
    assert found[f"RL from the end of SFT solves more than {HALF}, OOD"].estimate == pytest.approx(
        -30
    )
    control = found["RL from the end of SFT solves more than more SFT from its end, OOD"]
    assert control.estimate == pytest.approx(10)
    slow = found["SFT at a quarter of its learning rate solves more than SFT to its end, ID"]
    assert (slow.claim, slow.estimate) == ("prevent", pytest.approx(-10))


def simplest(repaired, arms):
    found, _ = judged(repaired, arms)
    (one,) = (one for one in found.values() if one.claim == "simplest")
    return one


def test_the_simplest_that_none_beats_is_named():
    """Trimming solves 20 of 20, interpolation 7: more in all seeds, and clearly."""
    far = REPAIRED | {HALF: places((6, 5), (2, 5)), TRIM: places((9, 5), (10, 10))}
    one = simplest(far, ARM_SOLVED)
    assert f"{TRIM} is the simplest" in one.statement
    assert one.verdict == "described"
    assert one.estimate < 0
    assert one.detail.startswith("SFT that ends early 40.0 %, ")


def test_a_simpler_one_that_is_as_good_is_named_first():
    alike = ARM_SOLVED | {"b-1": places((5, 5), (9, 6))}
    one = simplest(REPAIRED, alike)
    assert "SFT that ends early is the simplest" in one.statement
    assert one.estimate == pytest.approx(0)  # the best other one, trimming, solves as many


def test_the_figure_has_each_remedy_at_its_chosen_setting():
    assert repairs.PAPER.figures == {"remedies": ("scores", "recovery_solved")}
    drawing = remedies.draw(
        **tables(REPAIRED, ARM_SOLVED), story=STORY.model_copy(update={"arms": ARMS})
    )
    drawn = drawing.data.set_index("id")[["value_x", "value_y"]]
    assert drawn.to_dict("index") == {
        name: {"value_x": pytest.approx(x), "value_y": pytest.approx(y)}
        for name, x, y in [
            ("target", 0.9, 0),
            ("anchor", 0.4, 0.6),
            (HALF, 0.7, 0.5),
            (TRIM, 0.9, 0.6),
            (RANDOM, 0.1, 0),
            ("a-1", 0.8, 0.1),
            *((name, 0.5, 0.3) for name in ("b-1", "e-1", "f-1", "g-1")),
            ("c-1", 0.9, 0.2),
            ("d-1", 0.9, 0.1),
        ]
    }
    names = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert names[0] == "SFT to its end"
    assert "interpolate, weight 0.5" in [name.replace("\N{NO-BREAK SPACE}", " ") for name in names]
