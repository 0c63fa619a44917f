"""The statements about PEAR on small tables made by hand."""

import numpy as np
import pytest

from svdrift.findings.papers import pear
from tests.findings.arm_tables import scores, story


def about(claim, solved):
    table = scores(pear.PAPER, solved)
    found = pear.findings({"scores": table, "samples": table}, story(pear.PAPER))
    return {one.statement: one for one in found if one.claim == claim}


def test_what_is_behind_before_and_ahead_after_is_described_with_both():
    solved = {"early_start": 2, "early": 8, "token_start": 7, "token": 9}
    found = about("order", solved)
    assert len(found) == 2 * (len(pear.PLAIN) + len(pear.VARIANTS))
    assert {one.verdict for one in found.values()} == {"described"}
    early = found["RL from plain SFT of 4 steps against RL from plain SFT of 64 steps, OOD"]
    assert early.estimate == pytest.approx(30)
    assert early.detail.startswith("before RL -30.0 [")
    token = found["RL from PEAR by token against RL from plain SFT, ID"]
    assert token.estimate == pytest.approx(40)
    assert token.detail.startswith("before RL +20.0 [")


def test_rl_from_pear_is_held_to_rl_from_plain_sft_and_to_its_own_weights_permuted():
    found = about("better", {"wide": 9})
    assert len(found) == 2 * 2 * len(pear.VARIANTS)
    name = "RL from PEAR by token with wide bounds"
    assert found[f"{name} solves more than RL from plain SFT, OOD"].estimate == pytest.approx(40)
    assert found[
        f"{name} has a higher pass@8 than RL from plain SFT, ID"
    ].estimate == pytest.approx(40)
    found = about("weights", {"wide": 9, "wide_permuted": 9})
    same = found[f"{name} solves more than {name}, its weights permuted, ID"]
    assert same.estimate == 0
    assert same.verdict != "holds"
    assert not np.isnan(same.low)


def test_what_was_published_of_no_level_stands_beside_one():
    (said,) = (
        one.statement for one in about("better", {}).values() if one.published == pear.PASSES
    )
    assert said == "RL from PEAR by token has a higher pass@8 than RL from plain SFT, ID"
    (said,) = (
        one.statement for one in about("better", {}).values() if one.published == pear.SOLVED
    )
    assert said == "RL from PEAR by token solves more than RL from plain SFT, ID"


def test_weights_that_adam_makes_alike_say_nothing_of_tokens():
    assert all("permuted" in said for said in about("weights", {}))
    assert len(about("others", {})) == 2 * 2
