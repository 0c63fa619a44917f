"""A corpus of forms that replies take, each with its verdict; docs/verifier.md gives the rule."""

import csv
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from svdrift.tasks.general_points.game import FACES, Hand
from svdrift.tasks.general_points.verifier import verify

CORPUS = Path(__file__).with_name("corpus.tsv")
CHARACTERS = {
    "<LF>": "\n",
    "<TAB>": "\t",
    "<NBSP>": "\u00a0",
    "<ZWSP>": "\u200b",
    "<BOM>": "\ufeff",
    "<THIN>": "\u2009",
    "<NUL>": "\0",
}


class Case(NamedTuple):
    case: str
    hand: Hand
    where: str
    fault: str
    text: str

    @property
    def reply(self) -> str:
        if self.where == "reply":
            return self.text
        numbers = ", ".join(map(str, self.hand.numbers))
        return f'{{"cards": [], "number": [{numbers}], "formula": "{self.text}",}}'


def a_hand(numbers: list[int], target: int) -> Hand:
    """A hand of these values, whose face cards are worth what no other card is."""
    large = sorted({number for number in numbers if number > 10})
    rank = {number: str(number) for number in range(2, 11)} | {1: "A"}
    rank |= dict(zip(large, FACES, strict=False))
    j, q, k = (*large, 11, 12, 13)[:3]
    return Hand(tuple(rank[number] for number in numbers), (j, q, k), target)


def cases() -> list[Case]:
    lines = CORPUS.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if not line.startswith("#")]
    found = []
    for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
        text = row["text"]
        for name, character in CHARACTERS.items():
            text = text.replace(name, character)
        hand = a_hand([int(number) for number in row["numbers"].split()], int(row["target"]))
        found.append(Case(row["case"], hand, row["where"], row["fault"], text))
    return found


CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.case} {case.text[:40]!r}")
def test_verdict(case: Case) -> None:
    started = time.process_time()
    verdict = verify(case.hand, case.reply, "paper", -1.0)
    assert (verdict.fault, verdict.solved) == (case.fault, case.fault == "none")
    assert time.process_time() - started < 5  # a hang


def test_the_corpus_is_large_and_has_every_collected_case() -> None:
    assert len(CASES) == len(set(CASES)) >= 150
    assert {case.case for case in CASES} >= {f"C{number}" for number in range(1, 48)}
