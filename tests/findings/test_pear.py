"""The statements about PEAR on small tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from svdrift.findings.papers import pear
from svdrift.story import Story

STORY = Story(
    path=("base", "sft-64"), path_label="SFT", labels={}, arms={arm: arm for arm in pear.PAPER.arms}
)


def table(solved):
    """Scores and samples of 40 problems in each of three seeds; `solved` of 10 by arm, else 5."""
    rows = [
        {
            "seed": seed,
            "checkpoint": arm,
            "role": "test",
            "shift": shift,
            "group": problem,
            "problem": problem,
            "valid": problem % 10 < solved.get(arm, 5),
            "samples": 8,
            "correct": int(problem % 10 < solved.get(arm, 5)),
        }
        for seed in range(3)
        for arm in pear.PAPER.arms
        for shift in ("id", "ood")
        for problem in range(40)
    ]
    found = pd.DataFrame(rows)
    return {"scores": found, "samples": found}


def about(claim, solved):
    return [one for one in pear.findings(table(solved), STORY) if one.claim == claim]


def test_what_is_behind_before_and_ahead_after_turns_the_order():
    found = about("order", {"token_start": 2, "token": 8, "block_start": 7, "block": 9})
    assert len(found) == 2 * len(pear.VARIANTS)
    by_arm = {one.statement: one for one in found if one.statement.endswith("ID")}
    token, block = (
        by_arm[f"PEAR by {arm}, behind plain SFT, is ahead after RL, ID"]
        for arm in ("token", "block")
    )
    assert token.estimate == pytest.approx(30)
    assert token.verdict == "holds"
    assert "before RL -30.0" in token.detail
    assert block.verdict == "described"
    assert "not clearly behind" in block.detail


def test_rl_from_pear_is_held_to_rl_from_plain_sft_and_to_its_own_weights_permuted():
    found = {one.statement: one for one in about("better", {"wide": 9})}
    assert len(found) == 2 * 2 * len(pear.VARIANTS)
    name = "RL from PEAR by token with wide bounds"
    assert found[f"{name} solves more than RL from plain SFT, OOD"].estimate == pytest.approx(40)
    assert found[
        f"{name} has a higher pass@8 than RL from plain SFT, ID"
    ].estimate == pytest.approx(40)
    found = {one.statement: one for one in about("weights", {"wide": 9, "wide_permuted": 9})}
    same = found[f"{name} solves more than {name}, its weights permuted, ID"]
    assert same.estimate == 0
    assert same.verdict != "holds"
    assert not np.isnan(same.low)
