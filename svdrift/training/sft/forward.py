"""The forward pass of SFT: log-probabilities of reply tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from svdrift.models.losses import IGNORED
from svdrift.training.lengths import of_like_length

OWN = {"input_ids", "attention_mask", "labels"}


def reply_log_probs(
    model: Any, inputs: Mapping[str, Tensor], *, in_parts: bool
) -> tuple[Tensor, Tensor]:
    """Run the model over a batch.

    TRL's own way is to compute logits in chunks of the vocabulary, which keeps memory small. On a
    CPU its chunks cost more than the layers of SmolLM2-135M, since their gradients are multiplied
    in float32, so logits of the replies are computed at once there, and of sequences of like length
    together.

    Args:
        model: patched by TRL's trainer, which gives it the argument `fused_lm_head`.
        inputs: a batch of TRL's, padded on the right.
        in_parts: whether the model may run several times before its backward pass, on a CPU.

    Returns:
        Log-probabilities (nats) of the labelled tokens, 0 elsewhere, and where they are; both
        [sequences, positions - 1], the first position being predicted by nothing.
    """
    if not in_parts or inputs["labels"].device.type != "cpu" or set(inputs) != OWN:
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        return outputs.log_probs, outputs.label_mask
    labels = inputs["labels"]
    found = torch.zeros(labels[:, 1:].shape)
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    for part in of_like_length(lengths):
        rows, width = torch.tensor(part), max(lengths[row] for row in part)
        targets = labels[rows, :width]
        places = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)
        logits = model(
            input_ids=inputs["input_ids"][rows, :width],
            attention_mask=inputs["attention_mask"][rows, :width],
            use_cache=False,
            logits_to_keep=places - 1,
        ).logits
        losses = functional.cross_entropy(
            logits.flatten(0, 1).float(),
            targets[:, places].flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        found = found.index_put(
            (rows.unsqueeze(1), places - 1), -losses.view(len(rows), len(places))
        )
    return found, labels[:, 1:] != IGNORED
