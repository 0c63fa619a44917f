"""Statements about re-distillation, by hand."""

import pytest

from svdrift.findings.paper import paper
from svdrift.findings.papers import redistillation
from tests.findings.test_papers import SEEDS, STORY, TABLES, rows, story_of


def test_a_gain_that_is_not_clear_is_not_judged():
    """By hand: RL solves 1 problem more than its start of 12, and 9 more."""
    scores = rows().assign(valid=False)

    def solve(checkpoint, problems):
        which = (scores["checkpoint"] == checkpoint) & scores["problem"].isin(problems)
        scores.loc[which, "valid"] = True

    arms = dict.fromkeys(paper("redistillation").arms, "base")
    story = STORY.model_copy(update={"arms": arms | {"rl": "sft-4", "redistilled": "sft-16"}})

    def recovers():
        found = redistillation.findings(TABLES | {"scores": scores}, story)
        return next(one for one in found if one.claim == "recovers")

    solve("sft-4", [0])
    assert recovers().verdict == "described"
    solve("sft-4", range(9))
    solve("sft-16", range(8))
    # 8 solved where 0.8 of 9 is asked for: 8 / 12 - 0.8 * 9 / 12
    assert recovers().estimate == pytest.approx(100 * (8 - 0.8 * 9) / 12)
    assert recovers().verdict != "described"


SFTS = {arm: f"{arm}-64" for arm in redistillation.LEARNED}


def judged_by_effect(effects, solved):
    """Findings about sample effect: of each data set its value a token, and what SFT solves."""
    effect = rows(effects).rename(columns={"extra": "data"})
    by_group = 1 + effect["group"] % 2 / 1000
    total = 2 * effect["data"].map(effects) * by_group  # of two tokens
    effect = effect.assign(tokens=2, effect=total, adam_effect=-total, log_prob=-total)
    scores = rows(SFTS).drop(columns="checkpoint").rename(columns={"extra": "arm"})
    scores = scores.drop_duplicates().assign(checkpoint=scores["arm"].map(SFTS))
    scores["valid"] = scores["problem"] < scores["arm"].map(solved)
    story = STORY.model_copy(update={"arms": SFTS | {"rl": "rl-60"}})
    found = redistillation.findings({"scores": scores, "sample_effect": effect}, story)
    return {one.statement: one for one in found if one.claim == "effect"}


def test_sample_effects_are_paired_and_their_order_is_held_against_accuracy():
    """By hand: of five data sets the order of effects is that of accuracy but for one swap."""
    effects = dict(zip(redistillation.LEARNED, [1.0, 5.0, 3.0, 2.0, 4.0], strict=True))
    solved = dict(zip(redistillation.LEARNED, [1, 4, 3, 2, 5], strict=True))
    found = judged_by_effect(effects, solved)
    above = "Right replies of RL have a higher sample effect at the base, a token, than "
    for other, difference in (("canonical", 3.0), ("rejection", 2.0)):
        one = found[f"{above}{redistillation.OTHERS[other]}, OOD"]
        assert (one.estimate, one.verdict) == (pytest.approx(difference, abs=0.01), "holds")
        assert f"differs by {-difference:.2f} [{-difference:.2f}, " in one.detail
    by, by_adam, rival = redistillation.PREDICTORS.values()
    for said, value in ((by, 0.9), (by_adam, -0.9), (rival, -0.9)):
        one = found[f"The higher {said}, the more problems SFT of the base on it solves, ID"]
        assert (one.estimate, one.n) == (pytest.approx(value), 5 * len(SEEDS))
        assert "without any one data set" in one.detail
        assert (one.verdict == "described") == (said == rival)
    closer = "is closer to that of what SFT solves than the order by"
    for said, value in ((by, 1.8), (by_adam, 0.0)):
        one = found[f"The order by {said} {closer} {rival} is, ID"]
        assert one.estimate == pytest.approx(value)
        assert one.each == pytest.approx([value] * len(SEEDS))


def test_only_effects_at_the_base_are_held_against_accuracy():
    """Those of other checkpoints, where the probe is asked for them, say nothing."""
    elsewhere = TABLES["sample_effect"].copy()
    moved = elsewhere["checkpoint"] != STORY.base
    elsewhere.loc[moved, ["effect", "adam_effect", "log_prob"]] *= 100
    story = story_of("redistillation")
    before, after = (
        redistillation.findings(TABLES | {"sample_effect": effects}, story)
        for effects in (TABLES["sample_effect"], elsewhere)
    )
    assert before == after
