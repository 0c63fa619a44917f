"""The model that ranks are judged by, against a repair and against numpy."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerBase

from svdrift.evaluation.episodes import reply_loss
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.chat import conversation_tokens, prompt_tokens
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.ranks.model import Adjusted
from svdrift.ranks.score import accuracy, likelihood
from svdrift.recovery.apply import recovered
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.shares import matrix_name
from svdrift.spectra.angles import principal_angles
from svdrift.spectra.decomposition import Decomposed
from svdrift.tasks import Task, make_task
from svdrift.tasks.base import demonstrations
from svdrift.tasks.general_points.hands import make_split
from svdrift.tasks.general_points.settings import PlaySettings, Settings
from tests.spectra.synthetic import llama, moved, save

TOKENS = torch.arange(12).reshape(2, 6)


class Two(NamedTuple):
    target: Decomposed
    anchor: Decomposed


class Tiny(NamedTuple):
    """A model with random weights, and problems to score it by."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerBase
    task: Task
    splits: list[pd.DataFrame]


def demonstrated(tiny: Tiny) -> list[list[tuple[str, str]]]:
    return [demonstrations(tiny.task, split) for split in tiny.splits]


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("ranks")
    return Two(
        save(llama(0, tied=request.param), folder / "target"),
        save(moved(llama(0, tied=request.param), 1), folder / "anchor"),
    )


def load(folder: Path) -> LlamaForCausalLM:
    model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model


def logits(model: LlamaForCausalLM) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def test_a_repair_is_the_intervention_of_these_shares(two: Two) -> None:
    model, other = (load(two.target.weights.folder) for _ in range(2))
    before = logits(model)
    adjusted = Adjusted(model, *two, "repair")
    space = adjusted.space(0.5, (0.0, 0.5, 1.0))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        ranks = space.ranks(rng.integers(3, size=len(space.subjects)))
        adjusted.set(ranks)
        shares = {
            matrix_name(one.layer, one.module): k / one.rank
            for one, k in zip(space.subjects, ranks, strict=True)
        }
        with recovered(other, *two, Intervention("per_matrix", shares=shares)):  # type: ignore[arg-type]
            assert torch.equal(logits(model), logits(other))
    adjusted.set(space.ranks([0] * len(space.subjects)))
    assert torch.equal(logits(model), before)


def test_what_is_kept_is_the_nearest_matrix_of_its_rank(two: Two) -> None:
    model = load(two.target.weights.folder)
    before = logits(model)
    adjusted = Adjusted(model, two.target, two.target, "keep")
    space = adjusted.space(0.9, (0.0, 0.5, 1.0))
    ranks = tuple(2 if one.module == "up" else one.rank for one in space.subjects)
    adjusted.set(ranks)
    for layer in range(two.target.weights.depth):
        u, s, vh = np.linalg.svd(two.target.weight((layer, "up")).double().numpy())
        expected = (u[:, :2] * s[:2]) @ vh[:2]
        made = model.model.layers[layer].mlp.up_proj.weight.detach().numpy()
        assert np.allclose(made, expected, atol=1e-5)
    assert not torch.equal(logits(model), before)
    adjusted.set(space.goal)
    assert torch.equal(logits(model), before)


def test_what_methods_know_of_a_matrix(two: Two) -> None:
    model = load(two.target.weights.folder)
    one = Adjusted(model, *two, "repair").space(0.5, (0.0, 1.0)).subjects[0]
    key = (one.layer, one.module)
    ours, theirs = (checkpoint.factors.read(key) for checkpoint in two)
    assert np.allclose(one.values, theirs.S)
    k = max(1, round(0.1 * one.rank))
    sides = [principal_angles(ours.U[:, :k], theirs.U[:, :k]).mean()]
    sides.append(principal_angles(ours.Vh[:k].T, theirs.Vh[:k].T).mean())
    assert one.angle == pytest.approx(float(sum(sides)) / 2, abs=1e-4)
    alone = Adjusted(model, two.target, two.target, "keep").space(0.5, (0.0, 1.0)).subjects[0]
    assert np.allclose(alone.values, ours.S)
    assert alone.angle == 0


@pytest.fixture
def tiny() -> Tiny:
    task, settings = make_task(PlaySettings()), Settings()
    splits = [
        make_split(name, settings.deal(name), n, 0, {})
        for name, n in (("id_selection", 6), ("ood_selection", 4))
    ]
    tokenizer = make_tokenizer(task.words)
    torch.manual_seed(0)
    architecture = ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=24)
    return Tiny(make_model(len(tokenizer), architecture).eval(), tokenizer, task, splits)


def test_the_score_is_the_share_solved(tiny: Tiny) -> None:
    """A backend that knows the gold replies to the first problems of each split."""
    gold = [pairs[:known] for pairs, known in zip(demonstrated(tiny), (3, 1), strict=True)]
    replies = {
        tuple(prompt_tokens(tiny.tokenizer, [[prompt]])[0]): conversation_tokens(
            tiny.tokenizer, [[prompt, reply]]
        )[0]
        for pairs in gold
        for prompt, reply in pairs
    }

    def generate(model: object, prompts: list[list[int]], **_: object) -> list[list[int]]:
        return [replies.get(tuple(prompt), prompt)[len(prompt) :] for prompt in prompts]

    settings = EvaluationSettings()
    how = {"max_new_tokens": 20, "settings": settings, "seed": 0, "generate": generate}
    assert accuracy(*tiny, **how)() == pytest.approx((3 / 6 + 1 / 4) / 2)  # type: ignore[arg-type]


def test_the_score_is_the_loss_of_demonstrations(tiny: Tiny) -> None:
    model, tokenizer, task, splits = tiny
    losses = [reply_loss(model, tokenizer, pairs, 4) for pairs in demonstrated(tiny)]
    score = likelihood(model, tokenizer, task, splits)
    assert score() == pytest.approx(-np.mean(losses), rel=1e-5)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert score() == pytest.approx(-np.log(len(tokenizer)), rel=1e-4)
