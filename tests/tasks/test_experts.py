"""An expert who draws from all right replies, of the card game."""

import math
import sys

import pandas as pd
import pytest

from scripts import draw_demonstrations
from svdrift.errors import UserError
from svdrift.models.tiny import make_tokenizer
from svdrift.tasks import load_settings, make_task, task_class
from svdrift.tasks.base import demonstrations
from svdrift.tasks.experts import CHOICES, uniform
from svdrift.tasks.general_points.solver import solutions
from svdrift.tasks.mixing import mix
from svdrift.tasks.probing import make_probing
from svdrift.training.sft.experts import expert_log_probs


@pytest.fixture(scope="module")
def game():
    settings = load_settings("general_points").Settings(
        hands={"demonstrated_multisets": 20, "demonstrations": 40}
    )
    deal = settings.deal("demonstrations")
    table = task_class("general_points").make_split("demonstrations", deal, 40, 0, {})
    play = settings.play("demonstrations")
    return table, make_task(play), make_probing(play), play


def test_each_right_reply_is_drawn_equally_often(game):
    table, task, probing, _ = game
    many = [uniform(table.head(1), task, probing, seed) for seed in range(400)]
    known = many[0][CHOICES][0]
    assert len(known) == len(solutions(task.read(table)[0].numbers, 24)) > 2
    counts = pd.concat(many)["reply"].value_counts()
    assert set(counts.index) == set(known)
    expected = 400 / len(known)
    assert ((counts - expected) ** 2 / expected).sum() < 3 * len(known)  # chi-squared


def test_a_draw_is_its_problems_own(game):
    table, task, probing, _ = game
    drawn = uniform(table, task, probing, 1)
    assert drawn.drop(columns=["reply", CHOICES]).equals(table)
    assert (
        drawn["reply"].tail(7).tolist()
        == uniform(table.tail(7), task, probing, 1)["reply"].tolist()
    )
    assert drawn["reply"].tolist() != uniform(table, task, probing, 2)["reply"].tolist()
    for problem, (_, reply) in zip(task.read(drawn), demonstrations(task, drawn), strict=True):
        assert task.verify(problem, reply).solved


def test_log_probabilities_follow_from_counting(game, monkeypatch, tmp_path):
    """As training reads them, from a file; also mixed with the task's own demonstrations."""
    table, task, _, play = game
    table.to_parquet(tmp_path / "dealt.parquet", index=False)
    arguments = ["--task", play.model_dump_json(), "--problems", tmp_path / "dealt.parquet"]
    arguments += ["--seed", 1, "--out", tmp_path / "any.parquet"]
    monkeypatch.setattr(sys, "argv", ["draw_demonstrations", *map(str, arguments)])
    draw_demonstrations.main()
    assert (tmp_path / "any.provenance.json").exists()
    drawn = pd.read_parquet(tmp_path / "any.parquet")
    tokenizer = make_tokenizer(task.words)
    pairs = demonstrations(task, drawn)
    found = expert_log_probs(tokenizer, drawn, pairs)
    for (_, reply), values, known in zip(pairs, found, drawn[CHOICES], strict=True):
        words = reply.split()
        assert len(values) == len(words) + 1 == 17  # and the token that ends it
        assert values[:5] == [0] * 5  # four values and the colon
        assert sum(values) == pytest.approx(-math.log(len(known)))
        first = sum(other.split()[5] == words[5] for other in known)
        assert values[5] == pytest.approx(math.log(first / len(known)))

    mixed = mix({"any": drawn, "own": table}, {"any": 0.5, "own": 0.5}, 20, 0)
    mixed.to_parquet(tmp_path / "mixed.parquet", index=False)
    mixed = pd.read_parquet(tmp_path / "mixed.parquet")
    by_row = expert_log_probs(tokenizer, mixed, demonstrations(task, mixed))
    drawn_ones = dict(zip(drawn["problem"], found, strict=True))
    assert sum(map(sum, found)) < 0
    for row, values in zip(mixed.to_dict("records"), by_row, strict=True):
        assert values == (drawn_ones[row["problem"]] if row["source"] == "any" else [0] * 17)


def test_a_problem_without_right_replies_is_refused(game):
    table, task, _, _ = game

    class Silent:
        def replies(self, problem):
            return []

    with pytest.raises(UserError, match="no right reply to demonstrations-00000 can be listed"):
        uniform(table, task, Silent(), 0)
