"""TRL's GRPO, on episodes that a sampler drew, or with a loss of what was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from svdrift.training.grpo.guidance import beginning_losses, mask_of
from svdrift.training.grpo.settings import GuidanceSettings


class SamplingTrainer(GRPOTrainer):
    """Trains on some episodes of each update, in a given order.

    TRL computes advantages and log-probabilities of all of them, as ever.
    """

    args: GRPOConfig

    def __init__(
        self, *args: Any, places: Callable[[], np.ndarray], minibatches: int, **options: Any
    ) -> None:
        """`places` are asked for, once all is played, of the episodes that train; of all processes.

        `minibatches` are made of them.
        """
        super().__init__(*args, **options)
        self.places, self.minibatches = places, minibatches
        self.parts: list[dict[str, Tensor | None]] = []  # of the update, one a forward pass

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Tensor | None]:
        """The next part of an update's episodes; TRL would shuffle all of them."""
        count = self.args.steps_per_generation
        assert count is not None
        if self._step % (count * self.num_iterations) == 0 or not self.parts:
            played = self._generate_and_score_completions(generation_batch)
            self.parts = split_tensor_dict(self._drawn(played), count)
        return self.parts[self._step % count]

    def _drawn(self, played: dict[str, Tensor]) -> dict[str, Tensor | None]:
        """This process's share of each minibatch; drawn episodes may have been played by others."""
        places = torch.from_numpy(self.places()).to(self.accelerator.device)
        shares = places.reshape(self.minibatches, self.accelerator.num_processes, -1)
        mine = shares[:, self.accelerator.process_index].reshape(-1)
        every = {name: self._gathered(name, rows) for name, rows in played.items() if rows.ndim}
        replied = every["completion_mask"] * every["tool_mask"]
        return {
            **{name: rows[mine] for name, rows in every.items()},
            "num_items_in_batch": replied[places].sum(),  # tokens that the loss is a mean over
        }

    def _gathered(self, name: str, rows: Tensor) -> Tensor:
        """Rows of all processes, padded on the side where TRL pads."""
        if rows.ndim > 1:
            prompts = name.startswith("prompt")
            rows = self.accelerator.pad_across_processes(rows, dim=1, pad_first=prompts)
        gathered: Tensor = self.accelerator.gather(rows)
        return gathered


class GuidedTrainer(GRPOTrainer):
    """Learns also from the beginnings of gold replies that episodes were given."""

    args: GRPOConfig

    def __init__(
        self,
        *args: Any,
        lengths: Callable[[], np.ndarray],
        guidance: GuidanceSettings,
        **options: Any,
    ) -> None:
        """`lengths` are asked for, once all is played: tokens learned from, of this process."""
        super().__init__(*args, **options)
        self.lengths, self.guidance = lengths, guidance
        self.log_probs = torch.empty(0)

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Tensor]:
        played: dict[str, Tensor] = super()._generate_and_score_completions(inputs)
        return {**played, "given_mask": mask_of(self.lengths(), played["completion_ids"])}

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **options)
        self.log_probs = found[0]
        return found

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """A sum over tokens, divided by the count of sampled ones, as TRL's own is."""
        loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
        losses = beginning_losses(self.log_probs, inputs["given_mask"], self.guidance)
        assert self.args.steps_per_generation is not None
        parts = self.current_gradient_accumulation_steps / self.args.steps_per_generation
        sampled = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
        added: Tensor = losses.sum() / (sampled * parts)
        return loss + added
