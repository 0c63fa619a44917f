"""Penalties on how far weights move from where training starts (RPSFT, arXiv 2605.10973)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from svdrift.errors import UserError
from svdrift.training.sft.loss_settings import RPSFTSettings


class Held(NamedTuple):
    """A weight matrix W, and where its change is penalised.

    Attributes:
        weight: W, which is trained; [m, n].
        start: U' W0 V, [k, k]; without subspaces W0 itself.
        left: U, orthonormal columns, [m, k]; None for the whole matrix.
        right: V, [n, k]; None for the whole matrix.
    """

    weight: Tensor
    start: Tensor
    left: Tensor | None
    right: Tensor | None


def hold(model: PreTrainedModel, loss: RPSFTSettings, seed: int) -> list[Held]:
    """The matrices of a model that are trained, held to what they are now.

    These are the weights of its linear modules; an embedding is none.

    Args:
        model: unsharded, with what is not trained frozen.
        loss: which subspaces.
        seed: of random ones.

    Raises:
        UserError: a matrix has fewer dimensions than `loss.rank`.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for name, weight in _matrices(model):
        start = weight.detach().clone()
        if loss.rank is None:
            found.append(Held(weight, start, None, None))
            continue
        if loss.rank > min(start.shape):
            raise UserError(
                f"loss.rank: {loss.rank} is more than the dimensions of {name} (allowed: up to "
                f"{min(start.shape)})"
            )
        if loss.subspaces == "leading":
            left, _, right = torch.linalg.svd(start.float(), full_matrices=False)
            left, right = left[:, : loss.rank], right[: loss.rank].T
        else:
            left, right = (_orthonormal(size, loss.rank, generator) for size in start.shape)
        left, right = left.to(start).contiguous(), right.to(start).contiguous()
        found.append(Held(weight, left.T @ start @ right, left, right))
    return found


def moved(held: Held) -> Tensor:
    """||U' (W - W0) V||_F^2 of one matrix, in float32; without subspaces ||W - W0||_F^2."""
    now = held.weight
    with torch.autocast(now.device.type, enabled=False):
        if held.left is not None and held.right is not None:
            now = held.left.T @ now @ held.right
        return ((now - held.start) ** 2).sum()


def _matrices(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear | Conv1D) and part.weight.requires_grad:
            yield name, part.weight


def _orthonormal(size: int, rank: int, generator: torch.Generator) -> Tensor:
    """Columns that span a subspace drawn uniformly (up to their signs); [size, rank]."""
    columns: Tensor = torch.linalg.qr(torch.randn(size, rank, generator=generator))[0]
    return columns
