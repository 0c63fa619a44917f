"""A method in one file, for tests: each step moves every weight by `change`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic import Field

from svdrift.models import loading
from svdrift.tasks.base import demonstrations
from svdrift.training.method import Method, MethodSettings
from svdrift.training.run import Run, Trained, folder

METHOD = Method(label="steady change", tables=("moves", "examples"), launched=False)


class Settings(MethodSettings):
    """Steady change."""

    steps: int = Field(4, gt=0, description="Number of changes.")
    change: float = Field(0.5, description="What is added to each weight.")

    @property
    def total(self) -> int:
        """Number of changes."""
        return self.steps


def train(run: Run) -> Trained:
    """Change the model in `run.start` step by step."""
    assert run.start is not None
    assert run.task is not None
    assert run.problems is not None
    model, tokenizer = loading.load_model(run.start), loading.load_tokenizer(run.start)
    kept: dict[int, Path] = {}
    for step in run.progress(range(1, run.keep[-1] + 1), run.keep[-1], "changing"):
        for parameter in model.parameters():
            parameter.data += run.settings.change
        run.live.append({"step": step, "change": run.settings.change})
        if step in run.keep:
            kept[step] = folder(run.work, step)
            loading.save_checkpoint(model, tokenizer, kept[step], run.dtype)
    pairs = demonstrations(run.task, run.problems)
    tables = {
        "moves": pd.DataFrame({"step": range(1, run.keep[-1] + 1), "change": run.settings.change}),
        "examples": pd.DataFrame(pairs, columns=["prompt", "reply"]),
    }
    return Trained(kept, tables, notes={"longest_reply": run.max_reply_tokens})
