"""The verifier against an oracle of other making, on mutated replies (tests/validation)."""

from collections.abc import Callable

import pytest

from svdrift.tasks.base import Verdict
from svdrift.tasks.general_points.formula import FormulaError, evaluate, numbers_in
from svdrift.tasks.general_points.formula import tokenise as tokens_of
from svdrift.tasks.general_points.game import Hand
from svdrift.tasks.general_points.reading import read_reply
from tests.validation import replies


def test_the_verifier_agrees_with_an_oracle() -> None:
    found = replies.run(100_000, seed=0)
    assert (found["disagreements"], found["crashes"]) == (0, 0)
    assert 0.15 < found["solved"] < 0.5
    assert found["judged"] > 0.3
    assert found["slowest_ms"] < 500  # some 10 are measured
    print(found)


def lax(check: Callable[[Hand, str], bool]) -> Callable[..., Verdict]:
    def verify(hand: Hand, reply: str, *_: object) -> Verdict:
        formula = read_reply(reply)[1] or ""
        try:
            solved = check(hand, formula.split("=")[0])
        except FormulaError:
            solved = False
        return Verdict(solved, 0.0, "none" if solved else "other", "", False)

    return verify


@pytest.mark.parametrize(
    "check",
    [
        lambda hand, formula: evaluate(tokens_of(formula)) == hand.target,
        lambda hand, formula: sorted(numbers_in(tokens_of(formula))) == sorted(hand.numbers),
        lambda hand, formula: abs(evaluate(tokens_of(formula)) - hand.target) < 1,
    ],
    ids=["any numbers", "any value", "about the target"],
)
def test_the_oracle_finds_a_lax_verifier(
    check: Callable[[Hand, str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "verify", lax(check))
    assert replies.run(3_000, seed=0)["disagreements"] > 10


def test_a_crash_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(*_: object) -> Verdict:
        raise RecursionError

    monkeypatch.setattr(replies, "verify", verify)
    assert replies.run(20, seed=0)["crashes"] == 20
