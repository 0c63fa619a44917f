"""Do the numbers in a checkpoint look like those of a trained model? One tensor at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from svdrift.spectra.decomposition import is_finite
from svdrift.spectra.nulls import fit_random, has_even_lengths

LEAST_RANK = 16  # of the simulations behind `fit_random`; small matrices fit any law


def is_zero_matrix(tensor: Tensor) -> bool:
    """Whether a floating tensor of two or more dimensions holds only zeros."""
    if not tensor.is_floating_point() or tensor.ndim < 2 or not tensor.numel():
        return False
    work = tensor if tensor.element_size() > 1 else tensor.float()  # float8 has few operations
    return not bool(work.any())


def tensor_faults(name: str, tensor: Tensor, *, spectrum: bool) -> list[str]:
    """What is wrong with the values of one tensor, one line each.

    NaN and infinite entries; and matrices of rank 16 or more that look as if never trained: their
    spectrum follows the law of random matrices, their rows and columns have even lengths
    (`svdrift.spectra.nulls`).

    Args:
        name: for the lines.
        tensor: of any shape and type.
        spectrum: whether to compute singular values, the costly part.
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return []
    work = tensor if tensor.element_size() > 1 else tensor.float()  # float8 has few operations
    if not is_finite(work):
        nan, infinite = int(work.isnan().sum()), int(work.isinf().sum())
        return [f"{name}: {nan} NaN and {infinite} infinite of {tensor.numel()} entries"]
    if not spectrum or tensor.ndim != 2 or min(tensor.shape) < LEAST_RANK:
        return []
    values = torch.linalg.svdvals(work.float())
    fit = fit_random(values, (tensor.shape[0], tensor.shape[1]))
    if fit.follows_law and has_even_lengths(work):
        return [f"{name}: looks random, as if never trained"]
    return []
