"""Which parameters are trained."""

from __future__ import annotations

from transformers import PreTrainedModel


def freeze_embeddings(model: PreTrainedModel) -> None:
    """Take the embedding and the output head out of training."""
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        if module is not None:
            module.requires_grad_(False)
