"""Several models side by side: the loss of a text, or the accuracy on a task."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from svdrift.errors import UserError
from svdrift.evaluation.accuracy import Floats
from svdrift.evaluation.episodes import label, run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.evaluation.side_by_side import side_by_side
from svdrift.evaluation.texts import (
    WINDOW,
    Window,
    clusters,
    documents,
    loss_table,
    unknown_share,
    window_losses,
    windows,
)
from svdrift.models.arguments import DTYPES
from svdrift.models.chat import prompt_tokens, require_renders
from svdrift.models.folders import weight_files
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.models.opening import opened
from svdrift.scripting import Progress
from svdrift.spectra.matrices import Weights
from svdrift.tasks import make_task
from svdrift.tasks.base import TaskSettings
from svdrift.tasks.dealing import chosen_splits, deal, read_task
from svdrift.tasks.splits import Split

BATCH = 512
NOTABLE = 0.01  # share of unknown tokens above which a note says so


@dataclass(frozen=True)
class Evaluation:
    """How several models did.

    Attributes:
        table: a row a model (and split): columns of `svdrift.evaluation.texts.loss_table` or of
            `svdrift.evaluation.side_by_side`.
        details: model to a row a window (`document`, `tokens`, `nats`) or a row a reply.
        notes: what `n` counts, and what limits the numbers, as sentences.
    """

    table: pd.DataFrame
    details: Mapping[str, pd.DataFrame]
    notes: Sequence[str]


def evaluate(
    models: str | Path | Sequence[str | Path],
    *,
    text: str | Path | None = None,
    task: str | None = None,
    settings: Mapping[str, Any] | None = None,
    splits: Collection[str] = (),
    problems: int | None = None,
    window: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH,
    dtype: str = "float32",
    device: str = "cpu",
    progress: Progress = lambda items, total, description: items,
) -> Evaluation:
    """The loss of a text, or the accuracy on a task, of models side by side.

    One model is in memory at a time. Each is compared with the first, on the same windows or
    problems.

    Args:
        models: what `svdrift.models.opening` takes, such as folders; the one to compare with first.
        text: a file of UTF-8 text; blank lines separate documents. Or:
        task: name of a task, whose own code deals problems and judges replies.
        settings: of the task, where they differ from its defaults, such as
            `{"prompt_style": "paper", "max_reply_tokens": 256}`.
        splits: of the task; none for those on which results are reported.
        problems: of each split; None for as many as the task's settings ask for.
        window: tokens of the text that are read at once; None for 512, or as many as the first
            model has positions.
        seed: of the deal; a study deals the same problems from it.
        batch_size: most windows or problems computed together.
        dtype: floating type in which models compute, `float32` or `bfloat16`.
        device: where to compute.
        progress: passes models on, and tells how far they are.

    Raises:
        UserError: neither or both of a text and a task; a model or the text cannot be read; or
            tokenizers differ.
    """
    with open_evaluation(
        models,
        text=text,
        task=task,
        settings=settings,
        splits=splits,
        problems=problems,
        window=window,
        seed=seed,
        dtype=dtype,
        device=device,
    ) as asked:
        return asked.evaluate(batch_size, progress)


class Amount(NamedTuple):
    """How much there is to evaluate, known before a model is loaded.

    Attributes:
        weights: those of each model that multiply each token.
        problems: of all splits; 0 for a text.
        read: tokens of the text or of prompts, by the first model's tokenizer.
        written: tokens of replies, if all were as long as they may be.
    """

    weights: tuple[int, ...]
    problems: int
    read: int
    written: int


@contextmanager
def open_evaluation(
    models: str | Path | Sequence[str | Path],
    *,
    text: str | Path | None = None,
    task: str | None = None,
    settings: Mapping[str, Any] | None = None,
    splits: Collection[str] = (),
    problems: int | None = None,
    window: int | None = None,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
) -> Iterator[Asked]:
    """Open what `evaluate` is asked for, with its arguments and errors; no model is loaded yet."""
    names = [str(model) for model in ([models] if isinstance(models, str | Path) else models)]
    if not names:
        raise UserError("models: none is named")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"models: {twice[0]} is named twice")
    if (text is None) == (task is None):
        raise UserError("text, task: one of them is wanted, a file of text or the name of a task")
    if dtype not in DTYPES:
        raise UserError(f"dtype: {dtype!r} is not known (allowed: {', '.join(DTYPES)})")

    with ExitStack() as stack:
        # All are opened before the first is loaded, so that a mistake in the last is found at once.
        folders = [stack.enter_context(opened(name)) for name in names]
        for one in folders:
            weight_files(one.folder)
            load_tokenizer(one.folder)
        on: _OnText | _OnTask
        if text is not None:
            on = _OnText(Path(text), read_documents(Path(text)), window)
        else:
            given = read_task(str(task), settings or {})
            chosen = chosen_splits(given, splits)
            on = _OnTask(given, chosen, deal(given, chosen, seed, problems))
        yield Asked(
            [
                _Model(name, one.folder, dtype, device)
                for name, one in zip(names, folders, strict=True)
            ],
            on,
            [note for one in folders for note in one.notes],
        )


@dataclass(frozen=True)
class Asked:
    """An evaluation that has not begun.

    Attributes:
        models: the one to compare with first.
        on: a text, or the problems of a task.
        notes: on how the models were opened.
    """

    models: Sequence[_Model]
    on: _OnText | _OnTask
    notes: Sequence[str]

    def amount(self) -> Amount:
        """How much there is to do."""
        weights = tuple(multiplying(model.folder) for model in self.models)
        return Amount(weights, *self.on.amount(load_tokenizer(self.models[0].folder)))

    def evaluate(self, batch_size: int, progress: Progress) -> Evaluation:
        """See `evaluate`."""
        places = progress(range(len(self.models)), len(self.models), "models evaluated")
        found = self.on.evaluate((self.models[i] for i in places), batch_size)
        return replace(found, notes=[*found.notes, *self.notes])


def multiplying(folder: Path) -> int:
    """Number of the weights in a model's matrices, without an embedding that only is looked up."""
    weights = Weights(folder, {})
    every = sum(weights.size(name) for name in weights.names if len(weights.shape(name)) == 2)
    looked_up = weights.embedding if weights.head is not None else None
    return every - (weights.size(looked_up) if looked_up is not None else 0)


@dataclass(frozen=True)
class _Model:
    """A model that is not in memory yet."""

    name: str
    folder: Path
    dtype: str
    device: str

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Load it; whoever drops the result frees the memory before the next is loaded."""
        tokenizer = load_tokenizer(self.folder)
        return load_on(self.folder, self.dtype, self.device), tokenizer


def load_on(folder: Path, dtype: str, device: str) -> PreTrainedModel:
    """Load a model on a device, in a floating type of `DTYPES`."""
    loaded: Any = load_model(folder, dtype=DTYPES[dtype])  # whose `to` has a wrong type
    model: PreTrainedModel = loaded.to(device)
    return model


def read_documents(path: Path) -> list[str]:
    """The documents of a file of text.

    Raises:
        UserError: it cannot be read, is not UTF-8, or is empty.
    """
    try:
        found = documents(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    if not found:
        raise UserError(f"{path}: holds no text")
    return found


def window_length(asked: int | None, name: str, config: PretrainedConfig) -> int:
    """Tokens of a window that a model can read.

    Args:
        asked: by the user, or for the models before it; None for `WINDOW`, or fewer.
        name: of the model.
        config: its configuration.

    Raises:
        UserError: the model has fewer positions than are asked for, or fewer than 2 are.
    """
    most = getattr(config.get_text_config(), "max_position_embeddings", None) or math.inf
    if asked is None:
        return int(min(WINDOW, most))
    if asked < 2:
        raise UserError(f"window: at least 2 tokens, not {asked}")
    if asked > most:
        raise UserError(f"window: {asked} tokens, but {name} reads {most} at most (--window)")
    return asked


def known_windows(
    name: str,
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    length: int,
) -> list[Window]:
    """Cut documents into windows that a model can read.

    Raises:
        UserError: no token is predicted from others, or the tokenizer writes tokens that the
            model does not know.
    """
    pieces = windows(tokenizer, texts, length)
    if not pieces:
        raise UserError("text: too short, no token of it is predicted from others")
    vocabulary = config.get_text_config().vocab_size
    if (most := max(max(piece.tokens) for piece in pieces)) >= vocabulary:
        raise UserError(
            f"{name}: its tokenizer writes token {most}, but the model knows {vocabulary} only"
        )
    return pieces


@dataclass(frozen=True)
class _OnText:
    """The documents of a file, and of how many tokens their windows are wanted."""

    path: Path
    texts: Sequence[str]
    window: int | None

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int, int]:
        """Problems, tokens to read and to write."""
        pieces = windows(tokenizer, self.texts, self.window or WINDOW)
        return 0, sum(len(piece.tokens) for piece in pieces), 0

    def evaluate(self, models: Iterable[_Model], batch_size: int) -> Evaluation:
        window = self.window
        found: dict[str, _Read] = {}
        for model in models:
            found[model.name] = own = _read_text(model, self.texts, window, batch_size)
            first, other = next(iter(found.items()))
            if own.pieces != other.pieces:
                raise UserError(
                    f"{model.name}: its tokenizer splits {self.path} otherwise than that of "
                    f"{first}, so losses per token cannot be compared"
                )
            window = own.window
        pieces = own.pieces
        table = loss_table(pieces, {name: one.nats for name, one in found.items()})
        said = {
            "document": [piece.document for piece in pieces],
            "tokens": [piece.counted for piece in pieces],
        }
        details = {name: pd.DataFrame(said | {"nats": one.nats}) for name, one in found.items()}
        _, kind = clusters(pieces)
        notes = [f"n: {kind}, which intervals count. Windows of at most {window} tokens."]
        if own.unknown > NOTABLE:
            notes.append(f"WARNING: {unknown_words(own.unknown)}.")
        return Evaluation(table, details, notes)


def unknown_words(share: float) -> str:
    """How much of a text a model cannot tell apart, as a sentence without its end."""
    return f"{100 * share:.3g} % of the tokens stand for words that the vocabulary does not hold"


class _Read(NamedTuple):
    """What one model made of a text: its windows of so many tokens, and their losses."""

    window: int
    pieces: list[Window]
    nats: Floats
    unknown: float


def _read_text(one: _Model, texts: Sequence[str], window: int | None, batch_size: int) -> _Read:
    model, tokenizer = one.load()
    length = window_length(window, one.name, model.config)
    pieces = known_windows(one.name, model.config, tokenizer, texts, length)
    nats = window_losses(model, pieces, batch_size)
    return _Read(length, pieces, nats, unknown_share(tokenizer, pieces))


@dataclass(frozen=True)
class _OnTask:
    """A task, and the problems that were dealt of some of its splits."""

    given: TaskSettings
    splits: Sequence[Split]
    tables: Mapping[str, pd.DataFrame]

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int, int]:
        """Problems, tokens to read and to write."""
        problems = read = 0
        for split in self.splits:
            task = make_task(self.given.play(split.name))
            posed = task.read(self.tables[split.name])
            problems += len(posed)
            first = prompt_tokens(tokenizer, [[task.first_turn(problem)] for problem in posed])
            read += sum(map(len, first))
        return problems, read, problems * self.given.max_reply_tokens

    def evaluate(self, models: Iterable[_Model], batch_size: int) -> Evaluation:
        played = {
            model.name: _play(model, self.given, self.splits, self.tables, batch_size)
            for model in models
        }
        faults = make_task(self.given.play(self.splits[0].name)).faults
        said = f"n: groups of similar problems, which intervals count. Task: {self.given.summary}."
        return Evaluation(side_by_side(played, faults), played, [said])


def _play(
    one: _Model,
    given: TaskSettings,
    splits: Sequence[Split],
    tables: Mapping[str, pd.DataFrame],
    batch_size: int,
) -> pd.DataFrame:
    """The episodes of one model on all splits."""
    model, tokenizer = one.load()
    require_renders(tokenizer, one.folder, model.config.get_text_config().vocab_size)
    parts = []
    for split in splits:
        part = run_episodes(
            model,
            tokenizer,
            make_task(given.play(split.name)),
            tables[split.name],
            tries=1,
            max_new_tokens=given.max_reply_tokens,
            settings=EvaluationSettings(batch_size=batch_size),
        )
        label(part, one.name, split)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
