"""Training stops where a loss, a gradient or a weight stops being finite, and says why."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import nn
from torch.distributed.tensor import DTensor

from svdrift.errors import UserError
from svdrift.models.finite import first_not_finite

NamedParameters = Iterable[tuple[str, nn.Parameter]]


def diverged(done: str, cause: str, snapshot: Path | None) -> UserError:
    """The error that ends a run whose numbers have left the finite ones.

    Args:
        done: where, such as "SFT: step 7 of 9".
        cause: what is not finite, and perhaps why.
        snapshot: of the last step after which all was well; None if none was kept.
    """
    last = "no snapshot was kept before" if snapshot is None else f"last good snapshot: {snapshot}"
    return UserError(
        f"{done}: {cause}; nothing of this step is saved, since each further one would be "
        f"spoilt (try a lower learning_rate; {last})"
    )


def spoilt(parameters: NamedParameters) -> str | None:
    """What an optimizer step has just spoilt, and by what; None if all weights are finite.

    To be called by every process, before gradients are cleared. What one process finds in its
    piece of a sharded model is reported to all.

    Args:
        parameters: those that are trained, by name.
    """
    held = list(parameters)
    weight = first_not_finite((name, _local(parameter)) for name, parameter in held)
    state = PartialState()
    if state.num_processes > 1:
        found = reduce(torch.tensor(float(weight is not None), device=state.device))
        if weight is None and found.item():
            return "the weights that another process holds are no longer finite"
    if weight is None:
        return None
    gradient = first_not_finite(
        (name, _local(parameter.grad)) for name, parameter in held if parameter.grad is not None
    )
    if gradient is not None:
        return f"the gradient of {gradient} is not finite"
    return f"the step makes {weight} NaN or infinite"


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
