"""Models whose weights lie in pieces on several processes: FSDP2 of PyTorch, as we use it.

`accelerate launch` says whether to shard (`workflow/accelerate/*-fsdp2.yaml`). Each layer is a
unit: before it computes, its weights are gathered; after it, each process keeps its own piece
again, as it does of gradients and of the optimizer's moments. A gathering waits for all processes,
so all must run a sharded model equally often. A model that is whole is left as it is.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, parse_flag_from_env
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from svdrift.models.loading import named_tensors, with_weights
from svdrift.training.device import on_gpu


def kind() -> str:
    """How `accelerate launch` asked for models to be held: `fsdp`, `deepspeed`, or `whole`."""
    for name in ("fsdp", "deepspeed"):
        if parse_flag_from_env(f"ACCELERATE_USE_{name.upper()}"):
            return name
    return "whole"


def wanted() -> bool:
    """Whether `accelerate launch` asked for sharded models."""
    return kind() == "fsdp"


def is_sharded(model: nn.Module) -> bool:
    """Whether (part of) the model lies in pieces."""
    return any(isinstance(part, FSDPModule) for part in model.modules())


@contextmanager
def in_turn() -> Iterator[None]:
    """Let the processes of a machine do something one after another, if models are sharded.

    Loading and sharding in turn holds one whole copy of a model in a machine's memory at a time,
    not one a process.
    """
    if not wanted():
        yield
        return
    _mesh()  # which the processes make together
    state = PartialState()
    before, turns = state.local_process_index, int(os.environ["LOCAL_WORLD_SIZE"])
    for _ in range(before):
        state.wait_for_everyone()
    yield
    for _ in range(turns - before):
        state.wait_for_everyone()


def place(model: nn.Module) -> None:
    """Bring a model that is not trained to the device, in pieces if that is wanted; in place."""
    if wanted():
        shard(model)
    else:
        model.to("cuda" if on_gpu() else "cpu")


def shard(model: nn.Module) -> None:
    """Keep only this process's pieces of the model's weights, on its device; in place.

    Under bf16, layers compute in it; weights stay and gradients are summed in float32, and what
    the model returns is not rounded, as Accelerate's own policy would round it.
    """
    half = os.environ.get("ACCELERATE_MIXED_PRECISION") == "bf16"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32 if half else None
    )
    for part in model.modules():
        if isinstance(part, GradientCheckpointingLayer):
            fully_shard(part, mesh=_mesh(), mp_policy=policy)
    fully_shard(model, mesh=_mesh(), mp_policy=policy)
    for part in model.modules():
        if isinstance(part, FSDPModule) and PartialState().device.type == "cpu":
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no mean
    # A network that ends in a view is warned of, though nothing is changed in place here.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")


@cache
def _mesh() -> DeviceMesh:
    state = PartialState()
    return init_device_mesh(state.device.type, (state.num_processes,))


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Gather all weights once and keep them, so that each process may run the model as it likes."""
    parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    yield
    for part in parts:
        part.reshard()
        part.set_reshard_after_forward(part is not model, recurse=False)


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor on every process, all of which must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def piece(whole_tensor: Tensor, like: Tensor) -> Tensor:
    """What this process holds of a tensor that is to lie as `like` does."""
    if not isinstance(like, DTensor):
        return whole_tensor
    on_device = whole_tensor.to(like.device)
    return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)


def ordinary(model: PreTrainedModel) -> PreTrainedModel:
    """The model with whole weights: itself, or of a sharded one a copy on the CPU.

    To be called by every process. The copy has its weights on the main process only; on the others
    it has none (device `meta`). Weights that are tied stay so.
    """
    if not is_sharded(model):
        return model
    main = PartialState().is_main_process
    weights = {}
    for name, piece_or_buffer in named_tensors(model):
        tensor = gathered(piece_or_buffer)
        weights[name] = tensor.cpu() if main else tensor.to("meta")
    return with_weights(model, weights)


def let_accelerate_shard_on_cpu() -> None:
    """Make Accelerate read its FSDP settings on the CPU too; it does (1.15) on accelerators only.

    `AcceleratorState` turns several processes on GPUs into FSDP where asked, but none on the CPU.
    """
    state = PartialState()
    if wanted() and state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU
