"""Pretraining of the tiny base model, in the order in which it happens.

The model learns the skills of the game from short conversations; the loss is on the last
reply of each. One process is enough for a model of this size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import torch
from torch.nn.utils import clip_grad_norm_
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svdrift.live import OFF, LiveMetrics
from svdrift.models.chat import Turns
from svdrift.models.loading import save_checkpoint
from svdrift.models.losses import pad, summed_loss, tokenise
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.scripting import Progress
from svdrift.tasks import task_class
from svdrift.training import finite
from svdrift.training.lengths import of_like_length
from svdrift.training.pretrain.settings import Settings
from svdrift.training.run import Run, Trained, folder

BETAS = (0.9, 0.98)
MAX_GRAD_NORM = 1.0


def train(run: Run) -> Trained:
    """Make a tiny model and train it on the skills of the task."""
    assert run.skills is not None
    settings: Settings = run.settings
    torch.manual_seed(run.seed)
    task = task_class(run.skills.name)
    tokenizer = make_tokenizer(task.words)
    model = make_model(len(tokenizer), settings.architecture)
    model.to(run.device)  # type: ignore[arg-type]  # its wrapper hides `self` from mypy
    examples = task.pretraining_examples(run.skills, settings.steps * settings.batch_size, run.seed)
    losses = pretrain(model, tokenizer, examples, settings, run.progress, run.live)
    save_checkpoint(model, tokenizer, folder(run.work, 0), run.dtype)
    return Trained({0: folder(run.work, 0)}, {"losses": losses})


def pretrain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Turns],
    settings: Settings,
    progress: Progress,
    live: LiveMetrics = OFF,
) -> pd.DataFrame:
    """Train `model` in place on `conversations`, each seen once and in the given order.

    Args:
        conversations: `settings.steps * settings.batch_size` of them, ending with a reply.
        progress: wraps the steps, as `tqdm` does.
        live: takes each row as it comes.

    Returns:
        Columns `step` (1-based) and `train_loss` (nats per reply token), one row a step.

    Raises:
        UserError: the loss or a weight is not finite.
    """
    device = next(model.parameters()).device
    examples = tokenise(tokenizer, conversations)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: cosine_with_warmup(step, settings.warmup_steps, settings.steps)
    )
    model.train()
    rows: list[dict[str, float]] = []
    for step in progress(range(settings.steps), settings.steps, "pretraining"):
        batch = examples[step * settings.batch_size : (step + 1) * settings.batch_size]
        reply_length = sum(len(tokens) - start for tokens, start in batch)
        total = 0.0
        for part in of_like_length([len(tokens) for tokens, _ in batch]):
            tokens, labels = pad([batch[place] for place in part])
            # Padding stands on the right, where causal attention never looks.
            logits = model(tokens.to(device), use_cache=False).logits
            loss = summed_loss(logits, labels.to(device))
            (loss / reply_length).backward()
            total += loss.item()
        clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        cause = finite.spoilt(model.named_parameters())
        if not math.isfinite(total):
            cause = f"the loss is {total}"
        if cause is not None:
            raise finite.diverged(f"pretraining: step {step + 1} of {settings.steps}", cause, None)
        schedule.step()
        optimizer.zero_grad()
        rows.append({"step": step + 1, "train_loss": total / reply_length})
        live.append(rows[-1])
    model.eval()
    return pd.DataFrame(rows)


def cosine_with_warmup(step: int, warmup: int, steps: int) -> float:
    """Share of the peak learning rate at a 0-based step: linear warm-up, then cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
