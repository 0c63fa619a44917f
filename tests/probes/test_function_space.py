"""Metrics against other implementations and by hand."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import distance

from svdrift.probes import function_space as space
from svdrift.probes.function_space import Seen
from tests.probes.conftest import random_model

RNG = np.random.default_rng(0)


def seen(hidden=None, logits=None):
    hidden = np.zeros((2, 1)) if hidden is None else np.asarray(hidden, dtype=float)
    logits = np.zeros((2, 1, 3)) if logits is None else np.asarray(logits, dtype=float)
    return Seen(hidden, logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)))


def draw():
    return seen(RNG.normal(size=(9, 4)), RNG.normal(size=(9, 2, 30)))


A, B = draw(), draw()


def test_cosine():
    expected = [1 - distance.cosine(a, b) for a, b in zip(A.hidden, B.hidden, strict=True)]
    found = space.cosine(A, B)
    np.testing.assert_allclose(found.each, expected)
    assert found.value == pytest.approx(np.mean(expected))


def test_energy_distance_is_scipys_in_one_dimension():
    a, b = RNG.normal(size=(12, 1)), RNG.normal(1.0, 2.0, size=(12, 1))
    expected = stats.energy_distance(a[:, 0], b[:, 0]) ** 2
    assert space.energy_distance(seen(a), seen(b)).value == pytest.approx(expected)


def test_linear_cka_does_not_see_rotations_or_scales():
    turn, _ = np.linalg.qr(RNG.normal(size=(4, 4)))
    assert space.linear_cka(A, seen(3 * A.hidden @ turn + 7)).value == pytest.approx(1)
    gram_a, gram_b = (
        np.array([[x @ y for y in c] for x in c])
        for c in (one.hidden - one.hidden.mean(axis=0) for one in (A, B))
    )
    expected = (gram_a * gram_b).sum() / np.sqrt((gram_a**2).sum() * (gram_b**2).sum())
    assert space.linear_cka(A, B).value == pytest.approx(expected)


def test_mmd_by_hand():
    a, b = seen([[0.0], [2.0]]), seen([[0.0], [4.0]])
    k = lambda d: np.exp(-(d**2) / (2 * 2.0**2))  # noqa: E731  # the median distance within a is 2
    expected = k(2) + k(4) - 2 * (k(0) + k(4) + k(2) + k(2)) / 4
    assert space.mmd(a, b).value == pytest.approx(expected)


def test_jensen_shannon_and_hellinger():
    p, q = np.exp(A.predictions), np.exp(B.predictions)
    expected = distance.jensenshannon(p, q, axis=2) ** 2
    assert space.jensen_shannon(A, B).value == pytest.approx(expected.mean())
    roots = np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=2))
    np.testing.assert_allclose(space.hellinger(A, B).each, roots.mean(axis=1))


def test_jaccard():
    sets = [
        [set(np.argsort(row)[-space.TOP :]) for row in one.predictions.reshape(-1, 30)]
        for one in (A, B)
    ]
    expected = [len(a & b) / len(a | b) for a, b in zip(*sets, strict=True)]
    assert space.jaccard(A, B).value == pytest.approx(np.mean(expected))


def test_entropy_and_margin():
    sure, unsure = seen(logits=[[[9.0, 0, 0]]] * 2), seen(logits=[[[0.0, 0, 0]]] * 2)
    gap = space.entropy_gap(unsure, sure).value
    assert gap == pytest.approx(np.log(3) - stats.entropy(np.exp(sure.predictions[0, 0])))
    top, second, _ = sorted(np.exp(sure.predictions[0, 0]))[::-1]
    assert space.margin_gap(unsure, sure).value == pytest.approx(top - second)


@pytest.mark.parametrize("name", space.METRICS)
def test_a_model_is_nearest_to_itself(name):
    metric = space.METRICS[name]
    near, far = metric.measure(A, A).value, metric.measure(A, B).value
    assert metric.sign * (near - far) > 0
    assert np.isnan(metric.wins(metric.measure(A, B), metric.measure(A, A))) == (
        metric.measure(A, B).each is None
    )


def test_looking_does_not_depend_on_the_batch(tokenizer):
    model = random_model(tokenizer, 0)
    prompts = [[5, 6, 7, 8], [9, 10, 11], [5, 6, 7], [12, 13, 14, 15]]
    whole, one_by_one = (space.look(model, prompts, 2, size) for size in (256, 1))
    np.testing.assert_allclose(whole.hidden, one_by_one.hidden, rtol=1e-4, atol=1e-6)
    with torch.inference_mode():
        logits = model(torch.tensor([prompts[1]])).logits[0, -2:].double()
    np.testing.assert_allclose(
        whole.predictions[1], torch.log_softmax(logits, dim=-1), rtol=1e-4, atol=1e-5
    )


def test_a_random_change_has_the_norm_of_the_real_one_in_every_tensor(tokenizer):
    start, end = random_model(tokenizer, 0), random_model(tokenizer, 1)
    before = {name: p.detach().clone() for name, p in start.named_parameters()}
    changed = space.changed_at_random(start, end, seed=3)
    after, real = (dict(one.named_parameters()) for one in (changed, end))
    for name, weight in before.items():
        norms = [float((one[name].detach() - weight).norm()) for one in (after, real)]
        assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert all(torch.equal(p, before[name]) for name, p in start.named_parameters())
