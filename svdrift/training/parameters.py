"""Which parameters are trained."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel


def freeze(model: PreTrainedModel, *, embeddings: bool) -> None:
    """Take out of training what text never passes through, and, if asked, embedding and head.

    Args:
        model: whole or sharded.
        embeddings: whether the embedding and the output head stay fixed.
    """
    for part in _untouched_by_text(model):
        part.requires_grad_(False)
    if embeddings:
        for module in (model.get_input_embeddings(), model.get_output_embeddings()):
            if module is not None:
                module.requires_grad_(False)


def _untouched_by_text(model: PreTrainedModel) -> Iterator[nn.Module | nn.Parameter]:
    """What no gradient of a text reaches in a model that also sees; without that, nothing.

    The vision tower with its projector, and, in Mllama, the layers that attend to the image: its
    forward skips them where there is none. A parameter that is trained without a gradient is an
    error to data parallelism, and to weight decay a weight like any other.
    """
    text = model.config.get_text_config()
    if text is model.config:
        return
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    used = {id(p) for part in (decoder, head) if part is not None for p in part.parameters()}
    yield from (parameter for parameter in model.parameters() if id(parameter) not in used)
    yield from (decoder.layers[layer] for layer in getattr(text, "cross_attention_layers", ()))
