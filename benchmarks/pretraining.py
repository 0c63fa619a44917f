"""Some steps of the default study's pretraining, in a process of its own.

python -m benchmarks.pretraining STEPS BATCH_SIZE

A part of `python -m benchmarks`: how threads wait is settled when PyTorch is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from benchmarks.gpu import GAME
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks import task_class
from svdrift.training.pretrain.settings import Settings
from svdrift.training.pretrain.train import pretrain


def silent(steps: Iterable[int], total: int, what: str) -> Iterable[int]:
    """Progress that nobody reads."""
    return steps


def main(steps: int, batch_size: int) -> None:
    """Train a tiny model."""
    task = task_class("general_points")
    tokenizer = make_tokenizer(task.words)
    settings = Settings(steps=steps, batch_size=batch_size)
    model = make_model(len(tokenizer), settings.architecture)
    examples = task.pretraining_examples(GAME.skills, steps * batch_size, 0)
    pretrain(model, tokenizer, examples, settings, silent)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
