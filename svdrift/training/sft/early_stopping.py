"""Early stopping of SFT, by the accuracy on problems for selection; never on those for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from svdrift.models.backend import Generate
from svdrift.models.chat import prompt_tokens, reply_texts, stop_tokens
from svdrift.tasks.base import Problem, Task

MEASURE = "selection_accuracy"  # in the trainer's log, which its snapshots keep


def best_step(accuracies: Mapping[int, float]) -> int:
    """The step of the highest accuracy, and of equals the first."""
    return max(accuracies, key=lambda step: (accuracies[step], -step))


def has_stalled(accuracies: Mapping[int, float], patience: int) -> bool:
    """Whether the last `patience` kept steps all failed to rise above an earlier one.

    Args:
        accuracies: of the kept steps so far, in their order.
        patience: kept steps.
    """
    return bool(accuracies) and list(accuracies)[::-1].index(best_step(accuracies)) >= patience


def held(keep: Sequence[int], accuracies: Mapping[int, float]) -> dict[int, int]:
    """Each kept step, and the step whose checkpoint it holds: where training ended, the best."""
    return {step: step if step in accuracies else best_step(accuracies) for step in keep}


def first_try_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
    *,
    max_new_tokens: int,
    generate: Generate,
    half: bool,
) -> float:
    """Share of problems that greedy replies solve, each problem on one process.

    To be called by every process, with the same unsharded weights; all are given the same share.
    With `half` it computes in bfloat16, as training then does.
    """
    state = PartialState()
    mine = problems[state.process_index :: state.num_processes]
    solved = 0
    if mine:
        with torch.autocast(state.device.type, torch.bfloat16, enabled=half):
            replies = generate(
                model,
                prompt_tokens(tokenizer, [[task.first_turn(problem)] for problem in mine]),
                max_new_tokens=max_new_tokens,
                stop_ids=stop_tokens(model, tokenizer),
                pad_id=0,
            )
        texts = reply_texts(tokenizer, replies)
        solved = sum(task.verify(p, text).solved for p, text in zip(mine, texts, strict=True))
    counted = torch.tensor(float(solved), device=state.device)
    if state.num_processes > 1:
        counted = reduce(counted)
    return float(counted.item() / len(problems))


class StopEarly(TrainerCallback):
    """Measure the accuracy at each kept step, and end training once it has not risen for long.

    Attributes:
        accuracies: of the kept steps so far. The trainer's log and its snapshots hold them, too.
    """

    def __init__(self, keep: Sequence[int], patience: int, accuracy: Callable[[], float]) -> None:
        """`accuracy` measures the model in training; see `has_stalled` for `patience`."""
        self.keep, self.patience, self.accuracy = keep, patience, accuracy
        self.accuracies: dict[int, float] = {}

    def has_ended(self, log_history: Sequence[Mapping[str, float]]) -> bool:
        """Go on from a trainer's log; whether that is the log of a run that has ended early."""
        self.accuracies = {int(e["step"]): e[MEASURE] for e in log_history if MEASURE in e}
        return has_stalled(self.accuracies, self.patience)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> TrainerControl:
        """Measure at a kept step, before its snapshot is written."""
        if state.global_step in self.keep:
            found = self.accuracies[state.global_step] = self.accuracy()
            state.log_history.append({"step": state.global_step, MEASURE: found})
            if has_stalled(self.accuracies, self.patience):
                control.should_training_stop = True
        return control
