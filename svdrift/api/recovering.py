"""A repaired model, and the choice of the repair by the loss of a text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from svdrift.api.evaluating import (
    BATCH,
    NOTABLE,
    known_windows,
    load_on,
    read_documents,
    unknown_words,
    window_length,
)
from svdrift.api.loading import as_checkpoint
from svdrift.errors import UserError
from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.texts import (
    Window,
    clusters,
    halves,
    loss_table,
    unknown_share,
    window_losses,
)
from svdrift.models.loading import load_config, load_tokenizer
from svdrift.recovery import choosing
from svdrift.recovery.apply import recovered
from svdrift.recovery.choosing import ANCHOR, CHOSEN, INTERPOLATION, TARGET
from svdrift.recovery.folder import NOT_EVALUATED, Written, write_folder
from svdrift.recovery.interventions import Intervention
from svdrift.scripting import Progress
from svdrift.spectra.decomposition import Decomposed
from svdrift.spectra.patterns import EMBEDDING, HEAD, INSIDE
from svdrift.spectra.vocabulary import match_vocabularies

MOST_UNKNOWN = 0.5
"""Share of unknown tokens above which a text says nothing about a model."""


def recover(
    anchor: str | Path | Decomposed,
    target: str | Path | Decomposed,
    out: str | Path,
    intervention: Intervention,
    *,
    notes: Sequence[str] = (NOT_EVALUATED,),
    device: str = "cpu",
) -> Written:
    """Give one model singular directions (or values, or weights) of another, as a new folder.

    Args:
        anchor: what is restored: what `svdrift.models.opening` takes, such as a folder, or what
            `load_factors` gave.
        target: what is repaired.
        out: the folder to make; nothing is overwritten.
        intervention: what is replaced, and where.
        notes: paragraphs of the model card on how the result was evaluated.
        device: where to compute.

    Returns:
        What was repaired and what stayed as it was.

    Raises:
        UserError: a folder cannot be read or holds NaN, what is repaired does not fit, `out`
            exists, or the disk is full.
    """
    modules = modules_of(intervention.modules, intervention.embedding_and_head)
    with (
        as_checkpoint(target, modules, device) as ours,
        as_checkpoint(anchor, modules, device) as theirs,
    ):
        theirs, ours, left = match_vocabularies(theirs, ours)
        told = [*notes, *left]
        return write_folder(ours, theirs, intervention, Path(out), notes=told, device=device)


@dataclass(frozen=True)
class Choice:
    """The intervention with the lowest loss on one half of a text.

    Attributes:
        intervention: what was chosen.
        interpolation: plain interpolation, chosen the same way.
        selection: the loss of every candidate on the half that chooses; columns of
            `svdrift.evaluation.texts.loss_table`, compared with the target.
        held_out: the same on the other half, of target, anchor, chosen and interpolation.
        against_interpolation: the chosen one on the other half, compared with interpolation.
        better: whether it has a lower loss than the target on the half that chooses.
        summary: the main results as sentences.
    """

    intervention: Intervention
    interpolation: Intervention
    selection: pd.DataFrame
    held_out: pd.DataFrame
    against_interpolation: pd.Series
    better: bool
    summary: Sequence[str]


def choose(
    anchor: str | Path | Decomposed,
    target: str | Path | Decomposed,
    text: str | Path,
    candidates: Sequence[Intervention] = (),
    *,
    window: int | None = None,
    batch_size: int = BATCH,
    dtype: str = "float32",
    device: str = "cpu",
    progress: Progress = lambda items, total, description: items,
) -> Choice:
    """Choose ranks, layers or a weight by the loss of a text, and report on its other half.

    Every other document chooses (of a single document the first half does). The text should hold
    what was lost and what must stay: of a text of the lost alone the anchor itself is the best
    model. Every candidate is tried in the loaded target.

    Args:
        anchor: what is restored: a model folder, or better what `load_factors` gave with a file, so
            that each matrix is decomposed once, and not for every candidate.
        target: what is repaired.
        text: a file of UTF-8 text; blank lines separate documents.
        candidates: none for `svdrift.recovery.choosing.candidates` of `directions`.
        window: see `evaluate`.
        batch_size: see `evaluate`.
        dtype: see `evaluate`.
        device: see `evaluate`.
        progress: passes candidates on, and tells how far they are.

    Raises:
        UserError: a model or the text cannot be read, the text is too short or mostly of words
            that the vocabulary does not hold, or a candidate is impossible.
    """
    modules = modules_of(candidates[0].modules if candidates else None, True)
    with (
        as_checkpoint(target, modules, device) as ours,
        as_checkpoint(anchor, modules, device) as theirs,
    ):
        theirs, ours, _ = match_vocabularies(theirs, ours)
        return _choose(
            theirs,
            ours,
            Path(text),
            candidates or choosing.candidates("directions", ours.weights.depth),
            window=window,
            batch_size=batch_size,
            dtype=dtype,
            device=device,
            progress=progress,
        )


def _choose(
    anchor: Decomposed,
    target: Decomposed,
    text: Path,
    candidates: Sequence[Intervention],
    *,
    window: int | None,
    batch_size: int,
    dtype: str,
    device: str,
    progress: Progress,
) -> Choice:
    plain = choosing.interpolations(candidates, *choosing.WEIGHTS)
    whole = replace(plain[0], weight=1.0, layers=(0.0, 1.0))
    folder = target.weights.folder
    first, second, kind, unknown = read_halves(folder, text, window)
    model = load_on(folder, dtype, device)

    def loss(part: Sequence[Window], intervention: Intervention | None) -> Floats:
        if intervention is None:
            return window_losses(model, part, batch_size)
        with recovered(model, target, anchor, intervention, device):
            return window_losses(model, part, batch_size)

    every = tuple(dict.fromkeys((*candidates, *plain)))
    tried = {
        every[number]: loss(first, every[number])
        for number in progress(range(len(every)), len(every), "candidates tried")
    }
    chosen = choosing.lowest({one: tried[one] for one in candidates})
    simple = choosing.lowest({one: tried[one] for one in plain})
    before = {TARGET: loss(first, None), **{one.id: nats for one, nats in tried.items()}}
    after = {
        TARGET: loss(second, None),
        ANCHOR: loss(second, whole),
        CHOSEN: loss(second, chosen),
        INTERPOLATION: loss(second, simple),
    }
    selection, held_out = loss_table(first, before), loss_table(second, after)
    pair = {name: after[name] for name in (INTERPOLATION, CHOSEN)}
    against = loss_table(second, pair).iloc[1]
    said = selection.replace({"model": {chosen.id: CHOSEN}})
    words = choosing.in_words(
        chosen, simple, len(candidates), len(plain), said, held_out, against, kind
    )
    if unknown > NOTABLE:
        words.append(f"WARNING: {unknown_words(unknown)}.")
    return Choice(
        chosen,
        simple,
        selection,
        held_out,
        against,
        bool(before[chosen.id].sum() < before[TARGET].sum()),
        words,
    )


class Halves(NamedTuple):
    """A text on which a repair is chosen, as one model reads it.

    Attributes:
        first: windows that choose.
        second: windows on which the choice is reported.
        kind: what is independent in them: `documents` or `windows`.
        unknown: share of the tokens that stand for what the vocabulary does not hold.
    """

    first: Sequence[Window]
    second: Sequence[Window]
    kind: str
    unknown: float


def read_halves(folder: Path, text: Path, window: int | None = None) -> Halves:
    """Read a text to choose on; the model itself is not loaded.

    Args:
        folder: a model folder.
        text: a file of UTF-8 text; blank lines separate documents.
        window: see `evaluate`.

    Raises:
        UserError: the text or the tokenizer cannot be read, or the text is too short or mostly of
            words that the vocabulary does not hold.
    """
    texts = read_documents(text)
    tokenizer, config = load_tokenizer(folder), load_config(folder, folder)
    length = window_length(window, str(folder), config)
    pieces = known_windows(str(folder), config, tokenizer, texts, length)
    if (unknown := unknown_share(tokenizer, pieces)) > MOST_UNKNOWN:
        raise UserError(f"{text}: {unknown_words(unknown)} (allowed: {MOST_UNKNOWN:.0%} or fewer)")
    first, second = ([pieces[i] for i in places] for places in halves(pieces))
    return Halves(first, second, clusters(pieces)[1], unknown)


def modules_of(inside: Collection[str] | None, embedding_and_head: bool) -> tuple[str, ...]:
    """The modules that a repair reads: what is not repaired need not be known."""
    return (*(inside or INSIDE), *((EMBEDDING, HEAD) if embedding_and_head else ()))
