"""Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685), by the library peft.

A matrix W of [outputs, inputs] becomes W + alpha / rank B A, with A of [rank, inputs] and B of
[outputs, rank]. A is drawn and B is 0, so that training begins with the start itself.
"""

from __future__ import annotations

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from svdrift.errors import UserError, choices
from svdrift.models.loading import named_tensors, with_weights
from svdrift.training import sharding
from svdrift.training.method import LoRASettings

ADAPTER = "default"  # peft's name for the only one


def adapt(model: PreTrainedModel, settings: LoRASettings | None, seed: int) -> None:
    """Train adapters in place of the linear modules' weights, and nothing else; in place.

    Args:
        model: unsharded, with embedding and head frozen (`svdrift.training.parameters.freeze`).
            Modules that are frozen, because text never passes through them, have no adapter.
        settings: None leaves the model as it is.
        seed: A is drawn from it; the generators of the process stay as they are.

    Raises:
        UserError: models are sharded, or a module is not among the model's.
    """
    if settings is None:
        return
    if sharding.kind() != "whole":
        raise UserError("lora: adapters cannot be sharded (allowed: compute.sharding 'none')")
    linear = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear | Conv1D) and part.weight.requires_grad
    ]
    kinds = sorted({_kind(name) for name in linear})
    for kind in settings.modules or ():
        if kind not in kinds:
            raise UserError(
                f"lora.modules: {kind!r} is no linear module of the model's layers"
                f"{choices(kind, kinds)}"
            )
    chosen = settings.modules or kinds
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type] # declared whole, used as a number
        target_modules=[name for name in linear if _kind(name) in chosen],
        fan_in_fan_out=any(isinstance(part, Conv1D) for part in model.modules()),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, ADAPTER)


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """A model of plain weights that computes the same: to be saved, not run.

    It is the model itself where there are no adapters; else it shares all tensors but those of the
    adapted matrices.
    """
    adapted = {name: part for name, part in model.named_modules() if isinstance(part, Linear)}
    if not adapted:
        return model
    weights = {}
    for name, tensor in named_tensors(model):
        place, is_base, kind = name.partition(".base_layer.")
        if is_base and kind == "weight":
            tensor = tensor + adapted[place].get_delta_weight(ADAPTER).detach()
        if is_base:
            weights[f"{place}.{kind}"] = tensor
        elif not any(name.startswith(f"{place}.") for place in adapted):
            weights[name] = tensor
    return with_weights(model, weights)


def _kind(name: str) -> str:
    return name.rpartition(".")[2]
