"""Several models side by side: the loss of a text, or the accuracy on a task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

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
from svdrift.models.chat import require_renders
from svdrift.models.folders import one_line, require_config
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.scripting import Progress
from svdrift.tasks import make_task
from svdrift.tasks.dealing import chosen_splits, deal, read_task

BATCH = 512
NOTABLE = 0.01  # share of unknown tokens that is told


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
        models: model folders, the one to compare with first.
        text: a file of UTF-8 text; blank lines separate documents. Or:
        task: name of a task, whose own code deals problems and judges replies.
        settings: of the task, where they differ from its defaults, such as
            `{"prompt_style": "paper", "max_reply_tokens": 256}`.
        splits: of the task; none for those on which results are reported.
        problems: of each split; None for as many as the task's settings ask for.
        window: tokens of the text that are read at once; None for 512, or as many as every model
            has positions.
        seed: of the deal; a study deals the same problems from it.
        batch_size: most windows or problems computed together.
        dtype: floating type in which models compute, `float32` or `bfloat16`.
        device: where to compute.
        progress: passes models on, and tells how far they are.

    Raises:
        UserError: neither or both of a text and a task; a model or the text cannot be read; or
            tokenizers differ.
    """
    names = [str(model) for model in ([models] if isinstance(models, str | Path) else models)]
    if not names:
        raise UserError("models: none is named")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"models: {twice[0]} is named twice")
    if (text is None) == (task is None):
        raise UserError("text, task: one of them is wanted, a file of text or the name of a task")
    if dtype not in DTYPES:
        raise UserError(f"dtype: {dtype!r} is not known (allowed: {', '.join(DTYPES)})")

    def opened() -> Iterator[tuple[str, PreTrainedModel, PreTrainedTokenizerBase]]:
        for place in progress(range(len(names)), len(names), "models evaluated"):
            folder = Path(names[place])
            tokenizer = load_tokenizer(folder)
            yield names[place], load_model(folder, dtype=DTYPES[dtype]).to(device), tokenizer

    if text is not None:
        return _on_text(opened(), names, Path(text), window, batch_size)
    assert task is not None
    given = read_task(task, settings or {})
    wanted = chosen_splits(given, splits)
    tables = deal(given, wanted, seed, problems)
    played: dict[str, pd.DataFrame] = {}
    for name, model, tokenizer in opened():
        require_renders(tokenizer, Path(name), model.config.get_text_config().vocab_size)
        parts = []
        for split in wanted:
            part = run_episodes(
                model,
                tokenizer,
                make_task(given.play(split.name)),
                tables[split.name],
                tries=1,
                max_new_tokens=given.max_reply_tokens,
                settings=EvaluationSettings(batch_size=batch_size),
            )
            label(part, name, split)
            parts.append(part)
        played[name] = pd.concat(parts, ignore_index=True)
    faults = make_task(given.play(wanted[0].name)).faults
    notes = [f"n: groups of similar problems, which intervals count. Task: {given.summary}."]
    return Evaluation(side_by_side(played, faults), played, notes)


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


def window_length(asked: int | None, positions: Mapping[str, int | None]) -> int:
    """Tokens of a window.

    Args:
        asked: by the user, or None.
        positions: model to the longest sequence that it reads; None where it has no limit.

    Raises:
        UserError: a model has fewer positions than are asked for, or fewer than 2 are.
    """
    known = {name: most for name, most in positions.items() if most is not None}
    if asked is None:
        return min([WINDOW, *known.values()])
    if asked < 2:
        raise UserError(f"window: at least 2 tokens, not {asked}")
    for name, most in known.items():
        if asked > most:
            raise UserError(f"window: {asked} tokens, but {name} reads {most} at most")
    return asked


def require_known(name: str, pieces: Sequence[Window], vocabulary: int) -> None:
    """Refuse tokens that a model does not know.

    Raises:
        UserError: its tokenizer writes some.
    """
    if (most := max(max(piece.tokens) for piece in pieces)) >= vocabulary:
        raise UserError(
            f"{name}: its tokenizer writes token {most}, but the model knows {vocabulary} only"
        )


def positions_of(folder: Path) -> int | None:
    """The longest sequence that a model reads, by its configuration; None without a limit.

    Raises:
        UserError: the folder has no configuration that can be read.
    """
    require_config(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: cannot be loaded: {one_line(error)}") from None
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def _on_text(
    opened: Iterator[tuple[str, PreTrainedModel, PreTrainedTokenizerBase]],
    names: Sequence[str],
    path: Path,
    window: int | None,
    batch_size: int,
) -> Evaluation:
    texts = read_documents(path)
    length = window_length(window, {name: positions_of(Path(name)) for name in names})
    losses: dict[str, Floats] = {}
    pieces: list[Window] = []
    for name, model, tokenizer in opened:
        own = windows(tokenizer, texts, length)
        if losses and own != pieces:
            raise UserError(
                f"{name}: its tokenizer splits {path} otherwise than that of {names[0]}, so losses "
                "per token cannot be compared"
            )
        if not own:
            raise UserError(f"{path}: too short: no token of it is predicted from others")
        require_known(name, own, model.config.get_text_config().vocab_size)
        pieces = own
        losses[name] = window_losses(model, pieces, batch_size)
        unknown = unknown_share(tokenizer, pieces)
    details = {
        name: pd.DataFrame(
            {
                "document": [piece.document for piece in pieces],
                "tokens": [piece.counted for piece in pieces],
                "nats": nats,
            }
        )
        for name, nats in losses.items()
    }
    _, kind = clusters(pieces)
    notes = [f"n: {kind}, which intervals count. Windows of at most {length} tokens."]
    if unknown > NOTABLE:
        notes.append(
            f"WARNING: {100 * unknown:.3g} % of the tokens stand for words that the vocabulary "
            "does not hold."
        )
    return Evaluation(loss_table(pieces, losses), details, notes)
