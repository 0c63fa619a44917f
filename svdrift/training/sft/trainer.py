"""TRL's trainer of SFT with other losses than the negative log-likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from svdrift.errors import UserError
from svdrift.models.losses import IGNORED
from svdrift.training.sft.forward import reply_log_probs
from svdrift.training.sft.loss_settings import LossSettings, NLLSettings, RPSFTSettings
from svdrift.training.sft.losses import summary, token_losses
from svdrift.training.sft.penalties import Held, hold, moved

EXPERT = "expert_log_probs"
"""Column of the data: of the tokens of each reply, in order, under who wrote it."""

MEASURED = (
    *("nll", "penalty", "effective_share"),
    *("log_weight_q10", "log_weight_q50", "log_weight_q90", "log_weight_clipped"),
    *("log_ratio_q10", "log_ratio_q50", "log_ratio_q90", "log_ratio_clipped"),
)
"""What the trainers of this module add to the log, each those that its loss has."""


def make_trainer(
    loss: LossSettings, seed: int, expert: Sequence[Sequence[float]] | None, **options: Any
) -> SFTTrainer:
    """The trainer of a loss.

    Args:
        loss: of a stage.
        seed: of what the loss draws at random.
        expert: log-probabilities of each reply's tokens under who wrote it, where the loss reads
            them.
        options: TRL's, all by name; `model` holds its weights at the start of training.

    Raises:
        UserError: the model or the data does not suit the loss.
    """
    if isinstance(loss, NLLSettings):
        return ReplyTrainer(**options)
    if isinstance(loss, RPSFTSettings):
        held = hold(options["model"], loss, seed)
        return PenalisingTrainer(held=held, coefficient=loss.coefficient, **options)
    if loss.READS_EXPERT:
        assert expert is not None
        data = options["train_dataset"].add_column(EXPERT, list(map(list, expert)))
        options |= {"train_dataset": data}
    return WeightingTrainer(loss=loss, seed=seed, **options)


class ReplyTrainer(SFTTrainer):
    """TRL's trainer with the forward pass of `reply_log_probs`, and the loss of plain SFT."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The loss of a forward pass, divided by the reply tokens of the step as TRL does."""
        if self.aux_loss_enabled:  # a mixture of experts has a loss of its own besides
            found = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)  # type: ignore[no-untyped-call]
        else:
            assert not return_outputs
            found = self.of_step(-self.log_probs(model, inputs)[0], num_items_in_batch)
        assert isinstance(found, Tensor)
        return found

    def log_probs(self, model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the reply tokens of a batch, and where they are."""
        return reply_log_probs(model, inputs, in_parts=self.accelerator.num_processes == 1)

    def of_step(self, losses: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
        """The sum of losses over the reply tokens of a step.

        The tokens are those of all processes, whose gradients are averaged.
        """
        assert num_items_in_batch is not None
        total = losses.sum() / num_items_in_batch * self.accelerator.num_processes
        assert isinstance(total, Tensor)
        return total


class MeasuringTrainer(ReplyTrainer):
    """Logs numbers of each forward pass as their mean over those of a step, on all processes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.measured: dict[str, list[float]] = {}  # since the last entry of the log

    def measure(self, **values: Tensor) -> None:
        """Note numbers of a forward pass, to be called by every process."""
        means = self.accelerator.reduce(torch.stack(list(values.values())), "mean").tolist()
        for name, value in zip(values, means, strict=True):
            self.measured.setdefault(name, []).append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what was measured."""
        logs |= {name: sum(values) / len(values) for name, values in self.measured.items()}
        self.measured.clear()
        super().log(logs, start_time)


class WeightingTrainer(MeasuringTrainer):
    """Trains with a loss of each reply token, a mean over the tokens of a step."""

    def __init__(self, *, loss: LossSettings, seed: int, **options: Any) -> None:
        """See `token_losses`; a dataset whose loss reads them has the column `EXPERT`."""
        super().__init__(**options)
        self.loss, self.seed = loss, seed
        if self.aux_loss_enabled:
            raise UserError(
                f"loss: '{loss.kind}' does not balance a mixture of experts, whose router loss "
                "this model has (allowed: nll)"
            )
        if loss.READS_EXPERT:
            self.data_collator = ExpertCollator(pad_token_id=self._tokenizer.pad_token_id)
            require_whole_replies(self.train_dataset)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[no-untyped-call]
        columns: list[str] = self._signature_columns or []
        self._signature_columns = list(dict.fromkeys([*columns, EXPERT]))  # type: ignore[assignment]

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The loss of a forward pass, divided by the reply tokens of the step as TRL does."""
        assert not return_outputs
        expert = inputs.pop(EXPERT, None)
        log_probs, mask = self.log_probs(model, inputs)
        expert = torch.zeros_like(log_probs) if expert is None else expert[:, 1:]
        found = token_losses(self.loss, log_probs, expert, mask, self.seed, self.state.global_step)
        self.measure(**summary(found, log_probs, mask))
        return self.of_step(found.losses, num_items_in_batch)


class PenalisingTrainer(MeasuringTrainer):
    """Adds to TRL's loss how far matrices have moved."""

    def __init__(self, *, held: Sequence[Held], coefficient: float, **options: Any) -> None:
        super().__init__(**options)
        self.held, self.coefficient = held, coefficient

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], *args: Any, **options: Any
    ) -> Tensor:
        """The loss of a forward pass, with its share of the step's penalty."""
        nll: Tensor = super().compute_loss(model, inputs, *args, **options)
        penalty = self.coefficient * torch.stack([moved(one) for one in self.held]).sum()
        parts = self.current_gradient_accumulation_steps
        self.measure(nll=nll.detach() * parts, penalty=penalty.detach())
        return nll + penalty / parts


class ExpertCollator(DataCollatorForLanguageModeling):
    """Adds the column `EXPERT`, padded, at the positions of the labels that it is about."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch; tokens that are no reply have 0."""
        batch: dict[str, Any] = super().torch_call(examples)
        values = [value for example in examples for value in example[EXPERT]]
        mask = batch["labels"] != IGNORED
        found = torch.zeros(mask.shape)
        batch[EXPERT] = found.masked_scatter(mask, torch.tensor(values))
        return batch


def require_whole_replies(examples: Any) -> None:
    """Refuse replies that TRL has cut off or begun elsewhere than the expert did.

    Raises:
        UserError: a reply has another number of labels than log-probabilities.
    """
    for example in examples:
        labels = sum(label != IGNORED for label in example["labels"])
        if labels != len(example[EXPERT]):
            raise UserError(
                f"max_length: a reply of {len(example[EXPERT])} tokens has {labels} in training, "
                "and the loss looks at whole replies (allowed: a larger max_length)"
            )
