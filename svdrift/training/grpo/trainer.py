"""TRL's GRPO, on those of the episodes that a sampler drew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict


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
