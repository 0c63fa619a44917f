from collections import Counter

import pytest

from svdrift.tasks.general_points import prompts
from svdrift.tasks.general_points.game import Hand, multiset, value_multisets, values
from svdrift.tasks.general_points.pretraining import Mixture
from svdrift.tasks.general_points.settings import Settings
from svdrift.tasks.general_points.solver import canonical_solution
from svdrift.tasks.general_points.verifier import number_faults, verify

HELD_OUT = frozenset(value_multisets(range(1, 14), 4)[::5])
SKILLS = Settings().skills
COUNT = 4000


@pytest.fixture(scope="module")
def examples() -> list[list[str]]:
    mixture = Mixture(SKILLS, HELD_OUT, seed=0)
    return [mixture.example() for _ in range(COUNT)]


def kind(example: list[str]) -> str:
    words = example[0].split()
    if words[-2:] == ["numbers", prompts.SOLVE]:
        return "invent"
    return words[-1] + (" again" if len(example) > 2 else "")


def numbers_of(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())


def test_shares(examples: list[list[str]]) -> None:
    counts = Counter(map(kind, examples))
    expected = {"translate": 0.15, "translate again": 0.04, "solve again": 0.06}
    expected |= {"solve": 0.75 * 0.6, "invent": 0.75 * 0.4}
    assert set(counts) == set(expected)
    for name, share in expected.items():
        assert counts[name] / COUNT == pytest.approx(share, abs=0.025)
    prompt_words = [example[0].split() for example in examples]
    assert {tuple(words[:6:2]) for words in prompt_words} == {("J=", "Q=", "K=")}
    targets = Counter(words[7] for words in prompt_words)
    assert targets["24"] / targets.total() == pytest.approx(0.97, abs=0.01)
    rules = Counter(tuple(words[1:6:2]) for words in prompt_words)
    assert rules["11", "12", "13"] / rules.total() == pytest.approx(0.6, abs=0.06)
    assert rules["10", "10", "10"] / rules.total() == pytest.approx(0.1, abs=0.04)


def test_words(examples: list[list[str]]) -> None:
    words = {word for example in examples for turn in example for word in turn.split()}
    assert words <= set(prompts.COMPACT_WORDS)
    assert prompts.ANSWER not in words


def test_last_replies_are_right_and_earlier_ones_wrong(examples: list[list[str]]) -> None:
    for prompt, *replies in examples:
        words, last = prompt.split(), replies[-1]
        if words[-1] == prompts.SOLVE:
            given, target = words[9:-1], int(words[7])
            stated = last.split(" : ")[0]
            numbers = numbers_of(stated)
            assert len(numbers) == 4
            assert given in ([], stated.split())
            assert last == f"{stated} : {canonical_solution(numbers, target)}"
            hand = Hand(tuple(map(str, numbers)), (11, 12, 13), target)
            if len(replies) > 1 and max(numbers) <= 10 and 1 not in numbers:  # numbers are ranks
                verdict = verify(hand, replies[0], "compact", -1.0)
                assert replies[1] == verdict.feedback.replace(prompts.ANSWER, prompts.SOLVE)
        else:
            rule = (int(words[1]), int(words[3]), int(words[5]))
            wanted = values(words[9:13], rule)
            assert numbers_of(last) == wanted
            if len(replies) > 1:
                fault = number_faults(numbers_of(replies[0]), wanted)[0]
                assert replies[1] == f"{fault.kind} {fault.offender} {prompts.TRANSLATE}"


def test_held_out_multisets_never_appear(examples: list[list[str]]) -> None:
    for example in examples:
        for reply in example[1::2]:
            stated, _, formula = reply.partition(" : ")
            assert multiset(numbers_of(stated)) not in HELD_OUT
            used = [int(word) for word in formula.split() if word.isdigit()]
            assert multiset(used) not in HELD_OUT


def test_seed_decides(examples: list[list[str]]) -> None:
    same, other = (Mixture(SKILLS, HELD_OUT, seed) for seed in (0, 1))
    assert [same.example() for _ in range(50)] == examples[:50]
    assert [other.example() for _ in range(50)] != examples[:50]


def test_every_size_and_card_of_some_test_is_shown() -> None:
    shifts = {"two": {"hand_size": 2}, "large": {"added_cards": (14, 19)}}
    mixture = Mixture(Settings.model_validate({"shifts": shifts}).skills, frozenset(), seed=0)
    found = [mixture.example() for _ in range(1500)]
    sizes = Counter(len(example[-1].split(" : ")[0].split()) for example in found)
    assert set(sizes) == {2, 4}
    assert sizes[2] / 1500 == pytest.approx(0.5, abs=0.05)
    for prompt, *_, last in found:
        words = prompt.split()
        if words[-1] == prompts.TRANSLATE:
            rule = (int(words[1]), int(words[3]), int(words[5]))
            assert numbers_of(last) == values(words[9:-1], rule)
        else:
            stated = numbers_of(last.split(" : ")[0])
            assert last.split(" : ")[1] == canonical_solution(stated, int(words[7]))
    translated = [prompt.split() for prompt, *_ in found if prompt.endswith(prompts.TRANSLATE)]
    assert {"14", "19"} <= {word for words in translated for word in words[9:-1]}
    assert not {"15", "18"} & {word for words in translated for word in words[9:-1]}
