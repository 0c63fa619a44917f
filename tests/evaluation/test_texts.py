"""Losses of texts against transformers' own loss and scipy's paired test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import PreTrainedTokenizerFast

from svdrift.errors import UserError
from svdrift.evaluation.texts import (
    Window,
    clusters,
    documents,
    halves,
    loss_table,
    unknown_share,
    window_losses,
    windows,
)
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer

WORDS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    tokens = len(make_tokenizer(WORDS))
    shape = ArchitectureSettings(hidden_size=16, layers=1, heads=2, intermediate_size=16)
    return make_model(tokens, shape)


def beginning(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The same with a token that begins a text."""
    tokenizer.bos_token = "<eos>"
    return tokenizer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one", ["one"]),
        ("one\ntwo\n", ["one\ntwo"]),
        ("one\n\ntwo", ["one", "two"]),
        ("\n\none\n \t\n\n\ntwo\n\n", ["one", "two"]),
        ("  indented\n\ntwo", ["  indented", "two"]),
        ("\n \n", []),
        ("", []),
    ],
)
def test_blank_lines_separate_documents(text, found):
    assert documents(text) == found


@pytest.mark.parametrize(("texts", "length", "with_start", "without"), [
    (["a b c d"], 3, [4], [2]),  # two and two; or three, and one that nothing predicts
    (["a b c d", "a"], 3, [4, 1], [2]),
    (["a b", "c d"], 9, [2, 2], [1, 1]),
])  # fmt: skip
def test_windows_hold_every_token_once(texts, length, with_start, without):
    """`with_start`, `without`: tokens of each document that have a loss."""
    for tokenizer, counted in [
        (beginning(make_tokenizer(WORDS)), with_start),
        (make_tokenizer(WORDS), without),
    ]:
        found = windows(tokenizer, texts, length)
        assert max(len(one.tokens) for one in found) <= length
        sums = np.bincount([one.document for one in found], [one.counted for one in found])
        assert sums.tolist() == counted
        own = [t for one in found for t in one.tokens if t != tokenizer.bos_token_id]
        assert tokenizer.decode(own).split() == " ".join(texts[: len(counted)]).split()[: len(own)]


def test_losses_are_those_of_transformers_in_batches_of_any_size(model):
    tokenizer = beginning(make_tokenizer(WORDS))
    pieces = windows(tokenizer, ["a b c d a", "b", "c d c", "a a a a a a a"], 6)
    wanted = []
    for piece in pieces:
        tokens = torch.tensor([piece.tokens])
        wanted.append(model(tokens, labels=tokens).loss.item() * piece.counted)
    for size in (1, 2, 100):
        np.testing.assert_allclose(window_losses(model, pieces, size), wanted, rtol=1e-5)


def test_a_large_vocabulary_makes_batches_smaller(model, monkeypatch):
    pieces = [Window(0, (5, 6, 7, 8))] * 7
    monkeypatch.setattr("svdrift.evaluation.texts.LOGITS", 2 * 4 * model.config.vocab_size)
    seen = []

    def progress(items, total, description):
        seen.append(total)
        return items

    window_losses(model, pieces, 100, progress)
    assert seen == [4]  # of two windows each


def test_intervals_of_documents_are_those_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    pieces = [Window(number, (1,) * 11) for number in range(20)]
    a, b = rng.normal(30, 3, 20), rng.normal(29, 3, 20)
    row = loss_table(pieces, {"a": a, "b": b}).iloc[1]
    wanted = stats.ttest_rel(b / 10, a / 10)
    low, high = wanted.confidence_interval()
    found = row[["difference", "difference_low", "difference_high", "p"]].astype(float)
    np.testing.assert_allclose(found, [np.mean(b - a) / 10, low, high, wanted.pvalue])
    assert row["loss"] == pytest.approx(b.sum() / 200)
    assert row["perplexity"] == pytest.approx(np.exp(row["loss"]))
    assert (row["tokens"], row["windows"], row["documents"], row["n"]) == (200, 20, 20, 20)


def test_windows_of_one_document_count_once():
    """Ten copies of each window make no interval narrower."""
    rng = np.random.default_rng(0)
    alone = [Window(number, (1,) * 11) for number in range(6)]
    copied = [Window(number, (1,) * 11) for number in range(6) for _ in range(10)]
    a, b = rng.normal(30, 3, 6), rng.normal(29, 3, 6)
    tables = [
        loss_table(alone, {"a": a, "b": b}),
        loss_table(copied, {"a": a.repeat(10), "b": b.repeat(10)}),
    ]
    columns = ["loss", "low", "high", "difference", "difference_low", "difference_high", "p", "n"]
    np.testing.assert_allclose(*(table[columns].astype(float) for table in tables))


def test_a_single_window_has_no_interval():
    row = loss_table([Window(0, (1, 2, 3))], {"a": np.ones(1), "b": np.zeros(1)}).iloc[1]
    assert row["difference"] == -0.5
    assert row[["low", "high", "difference_low", "difference_high", "p"]].isna().all()


def test_unknown_words_are_counted():
    tokenizer = make_tokenizer(WORDS)
    assert unknown_share(tokenizer, windows(tokenizer, ["a b x y"])) == 0.5


def test_every_other_document_is_in_a_half():
    numbers = [0, 0, 1, 2, 2, 2, 3, 4]
    first, second = halves([Window(number, (1, 1)) for number in numbers])
    assert first == [0, 1, 3, 4, 5, 7]
    assert second == [2, 6]


@pytest.mark.parametrize(("sizes", "cut"), [([5] * 6, 3), ([9, 1, 1, 1, 1], 2), ([1, 1, 1, 9], 2)])
def test_a_single_document_is_cut_in_the_middle_of_its_tokens(sizes, cut):
    first, second = halves([Window(0, (1,) * (size + 1)) for size in sizes])
    assert (first, second) == (list(range(cut)), list(range(cut, len(sizes))))


@pytest.mark.parametrize("numbers", [[0], [0, 0, 0], [0, 1, 2], [0, 0, 0, 0, 1]])
def test_too_few_documents_have_no_halves(numbers):
    pieces = [Window(number, (1, 1)) for number in numbers]
    kind = clusters(pieces)[1]
    count = len(set(clusters(pieces)[0]))
    said = f"{count} {kind}" if count > 1 else "1 window "
    with pytest.raises(UserError, match=f"too short to choose on: {said}"):
        halves(pieces)
