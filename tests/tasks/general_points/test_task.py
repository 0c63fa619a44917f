import pandas as pd
import pytest

from svdrift.tasks import Task, make_task
from svdrift.tasks.base import demonstrations
from svdrift.tasks.general_points import prompts, task, verifier
from svdrift.tasks.general_points.decks import held_out_multisets
from svdrift.tasks.general_points.settings import HandsSettings, Settings
from tests.tasks.general_points.dealing import make_hands

SMALL = HandsSettings(
    demonstrations=200, practice=200, demonstrated_test=50, selection=60, test=100
)


@pytest.fixture(scope="module", params=["compact", "paper", "raster"])
def game(request: pytest.FixtureRequest) -> Task:
    settings = Settings(prompt_style=request.param, max_reply_tokens=200, hands=SMALL)
    return make_task(settings.play(*(split.name for split in settings.splits)))


@pytest.fixture(scope="module")
def hands() -> dict[str, pd.DataFrame]:
    return make_hands(Settings(hands=SMALL), 0)


def test_gold_replies_solve(game: Task, hands: dict[str, pd.DataFrame]) -> None:
    problem = game.read(hands["ood_test"])[0]
    verdict = game.verify(problem, game.gold_reply(problem))
    assert (verdict.solved, verdict.fault, verdict.translated) == (True, "none", True)
    if "white" not in game.first_turn(problem):  # cards are written, not drawn
        assert problem.cards[0] in game.first_turn(problem)


def test_demonstrations_are_prompts_and_gold(game: Task, hands: dict[str, pd.DataFrame]) -> None:
    table = hands["demonstrations"].head(3)
    pairs = demonstrations(game, table)
    problems = game.read(table)
    assert pairs == [(game.first_turn(p), game.gold_reply(p)) for p in problems]
    assert all(game.verify(p, reply).solved for p, (_, reply) in zip(problems, pairs, strict=True))


def test_verdicts_name_known_faults(game: Task, hands: dict[str, pd.DataFrame]) -> None:
    assert set(game.faults) - {prompts.MISREAD} == {*verifier.FAULT_REWARDS, "partial"}
    problem = game.read(hands["id_test"])[0]
    assert game.verify(problem, "").fault in game.faults


def test_validation_counts_every_hand(game: Task, hands: dict[str, pd.DataFrame]) -> None:
    report = game.validate(hands).set_index("split")
    for split, table in hands.items():
        assert report.loc[split, "accepted"] == len(table)
        assert report.loc[split, "rejected"] == 5 * table["group"].nunique()


def test_validation_finds_a_verifier_that_rejects_gold(
    game: Task, hands: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "reply", lambda hand, formula, style: f"1 : {formula}")
    with pytest.raises(RuntimeError, match=r"gold reply to Hand.*not accepted"):
        game.validate(hands)


def test_validation_finds_a_verifier_that_ignores_numbers(
    game: Task, hands: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "number_faults", lambda used, wanted: [])
    with pytest.raises(RuntimeError, match="is accepted for Hand"):
        game.validate(hands)


def test_pretraining_shares_the_hold_out_with_the_hands() -> None:
    skills = Settings(hands=SMALL).skills
    held_out = held_out_multisets(skills.values, 4, 0.2, 3)
    shown = {
        tuple(sorted(int(word) for word in reply.partition(" : ")[0].split()))
        for example in task.Task.pretraining_examples(skills, 3000, 3)
        for reply in example[1::2]
    }
    assert len(held_out) == 364
    assert not shown & held_out
