"""The loss of a text, window by window, and how models differ in it.

A text is cut into documents at blank lines, and each document into windows that do not overlap.
Windows of one document are dependent, so statistics treat the document as the unit of sampling (the
*cluster*); a text of a single document has no such units, and its windows are taken for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svdrift.errors import UserError
from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.comparisons import WeightedSum, mean_over_seeds, ratio_error
from svdrift.evaluation.episodes import LOGITS
from svdrift.models.losses import IGNORED, pad
from svdrift.scripting import Progress

WINDOW = 512  # tokens
BLANK = re.compile(r"\n[ \t]*\n")


class Window(NamedTuple):
    """A piece of a document.

    Attributes:
        document: its number, from 0.
        tokens: ids, with the token that begins a text in front where the tokenizer has one.
        counted: how many of them are predicted from others: all but the first.
    """

    document: int
    tokens: tuple[int, ...]

    @property
    def counted(self) -> int:
        """Number of tokens that have a loss."""
        return len(self.tokens) - 1


def documents(text: str) -> list[str]:
    """What blank lines separate in a text."""
    return [part.strip("\n") for part in BLANK.split(text) if part.strip()]


def windows(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], length: int = WINDOW
) -> list[Window]:
    """Cut documents into windows of at most `length` tokens, in order.

    Each begins with the token that begins a text, as lm-evaluation-harness has it; where the
    tokenizer knows none, the first token of a window has no loss, and a window of one token is
    left out.
    """
    # Not verbose: it would say that a document is longer than the model's positions.
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    step = length - len(start)
    found = [
        Window(number, (*start, *tokens[first : first + step]))
        for number, tokens in enumerate(encoded)
        for first in range(0, len(tokens), step)
    ]
    return [window for window in found if window.counted]


def unknown_share(tokenizer: PreTrainedTokenizerBase, pieces: Iterable[Window]) -> float:
    """Share of the tokens that stand for what the vocabulary does not hold."""
    tokens = [token for piece in pieces for token in piece.tokens]
    return tokens.count(tokenizer.unk_token_id) / max(len(tokens), 1)


def window_losses(
    model: PreTrainedModel,
    pieces: Sequence[Window],
    batch_size: int,
    progress: Progress = lambda items, total, description: items,
) -> Floats:
    """Loss of each window: nats, summed over its tokens.

    Args:
        model: on any device.
        pieces: windows in any order.
        batch_size: most windows in a forward pass; fewer where a large vocabulary would need more
            memory than `LOGITS` does.
        progress: passes batches on, and tells how far they are.
    """
    losses = np.zeros(len(pieces))
    # Like lengths together waste little padding; the longest first shows a lack of memory at once.
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i].tokens), reverse=True)
    vocabulary = model.config.get_text_config().vocab_size
    starts = [0]
    while starts[-1] < len(order):
        longest = len(pieces[order[starts[-1]]].tokens)
        starts.append(starts[-1] + max(1, min(batch_size, LOGITS // (longest * vocabulary))))
    for number in progress(range(len(starts) - 1), len(starts) - 1, "batches of text"):
        batch = order[starts[number] : starts[number + 1]]
        tokens, labels = pad([(list(pieces[i].tokens), 1) for i in batch])
        tokens, labels = tokens.to(model.device), labels.to(model.device)
        with torch.inference_mode():
            # Padding stands on the right, where causal attention never looks.
            logits = model(tokens, use_cache=False).logits
            each = functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(),
                labels[:, 1:].flatten(),
                ignore_index=IGNORED,
                reduction="none",
            )
        losses[batch] = each.view(len(batch), -1).double().sum(dim=1).cpu().numpy()
    return losses


def clusters(pieces: Sequence[Window]) -> tuple[list[int], str]:
    """The cluster of each window, and what the clusters are: `documents` or `windows`."""
    numbers = [piece.document for piece in pieces]
    if len(set(numbers)) > 1:
        return numbers, "documents"
    return list(range(len(pieces))), "windows"


def halves(pieces: Sequence[Window]) -> tuple[list[int], list[int]]:
    """Two halves of a text: places of windows.

    Every other document is in the first half, so that a file that holds one kind of text after
    another has all of them in both. A text of a single document is cut in the middle of its tokens,
    because neighbouring windows are alike.

    Raises:
        UserError: a half would have fewer than two clusters.
    """
    numbers, kind = clusters(pieces)
    order = list(dict.fromkeys(numbers))
    if len(order) < 4:
        one, several = kind.removesuffix("s"), kind
        raise UserError(
            f"too short to choose on: {len(order)} {several if len(order) > 1 else one} (allowed: "
            "4 or more, two to choose on and two to report on; a blank line separates documents)"
        )
    if kind == "documents":
        first = set(order[::2])
    else:
        done = np.cumsum([piece.counted for piece in pieces])
        inner = range(2, len(pieces) - 1)
        cut = min(inner, key=lambda place: abs(2 * done[place - 1] - done[-1]))
        first = set(range(cut))
    places = range(len(pieces))
    return [i for i in places if numbers[i] in first], [
        i for i in places if numbers[i] not in first
    ]


def loss_table(pieces: Sequence[Window], losses: dict[str, Floats]) -> pd.DataFrame:
    """The losses of several models on the same windows, each beside the first one's.

    Args:
        pieces: the windows.
        losses: model to what `window_losses` returned.

    Returns:
        A row a model: `model`; `loss` (nats per token) with its 95 % interval `low`, `high`;
        `perplexity` = exp(loss); `difference` from the first model's loss on the same windows, with
        `difference_low`, `difference_high` and two-sided `p` (all empty for the first); `tokens`,
        `windows`, `documents`, and `n`, the clusters that intervals count. Intervals are Student's
        t over clusters, as those of accuracies are, and empty for a single cluster.
    """
    numbers, _ = clusters(pieces)
    codes, _ = pd.factorize(np.array(numbers))
    sizes = _summed(codes, np.array([piece.counted for piece in pieces]))
    first = next(iter(losses.values()))
    rows = []
    for number, (model, nats) in enumerate(losses.items()):
        loss, low, high, _ = _interval(_summed(codes, nats), sizes)
        compared = _interval(_summed(codes, nats - first), sizes) if number else [math.nan] * 4
        rows.append(
            {
                "model": model,
                "loss": loss,
                "low": low,
                "high": high,
                "perplexity": math.exp(min(loss, 700.0)),  # beyond it is infinite in float64
                **dict(
                    zip(
                        ["difference", "difference_low", "difference_high", "p"],
                        compared,
                        strict=True,
                    )
                ),
                "tokens": int(sizes.sum()),
                "windows": len(pieces),
                "documents": len({piece.document for piece in pieces}),
                "n": len(sizes),
            }
        )
    return pd.DataFrame(rows)


def _summed(codes: NDArray[np.intp], values: NDArray[Any]) -> Floats:
    """Sums over the values of each code."""
    return np.bincount(codes, values).astype(float)


def _interval(sums: Floats, sizes: Floats) -> tuple[float, float, float, float]:
    """Ratio of totals over clusters with its interval, and p that it is 0."""
    value, number = float(sums.sum() / sizes.sum()), len(sizes)
    if number < 2:
        return value, math.nan, math.nan, math.nan
    error = ratio_error(sums, sizes)
    found = mean_over_seeds([WeightedSum(value, error, int(sizes.sum()), number, number - 1)])
    return found.value, found.low, found.high, found.p
