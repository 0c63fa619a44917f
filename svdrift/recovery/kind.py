"""What the rest of the project knows of an intervention kind.

A kind is a file of `svdrift/recovery/kinds/`, or a .py file of your own. It has `KIND`, and one of
two functions:

- `mix(target, anchor, rng) -> LowRank` for a kind with ranks: the change of a matrix from the
  factors of the chosen ranks, as `svdrift.recovery.mixing` applies it;
- `blend(weight, anchor, share, depth, rng) -> Tensor` for a kind that takes whole tensors: the new
  value of a tensor of the target from the anchor's, in the target's type. `share` is the `weight`
  that is chosen (1 for a kind without one); `depth` is the place of the tensor's layer, from 0, the
  first layer and all outside the layers, to 1, the last; `rng` is for kinds that draw.

Settings read `KIND` on every start of the workflow, so what is slow is imported inside functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import cast

from svdrift import plugins

ROOM = "svdrift.recovery.kinds"


@dataclass(frozen=True)
class Kind:
    """Everything that tables, figures and settings need to know of a kind.

    Attributes:
        label: in figures.
        description: what it does to tensors, for model cards ("The target with ..."); the label if
            empty.
        colour, marker: in figures, as matplotlib takes them.
        ranked: whether it acts on chosen ranks; else on whole tensors.
        weighted: whether it needs a `weight`, from 0, the target, to 1.
        weight_meaning: what that is, for model cards ("a weight of 0.5 for the anchor").
        copies: whether all entries are copies of the target's or the anchor's, so that nothing is
            rounded.
        random: whether it draws, and so has a `seed`.
        takes_zeros: whether a matrix of zeros can take part, though it has no directions.
        by_matrix: whether it takes `shares`, one for each matrix, in place of `top` and `bottom`.
        by_rows: whether `mix` may be given a block of rows of U at a time, which bounds memory.
    """

    label: str
    colour: str
    marker: str
    description: str = ""
    ranked: bool = True
    weighted: bool = False
    weight_meaning: str = "for the anchor"
    copies: bool = False
    random: bool = False
    takes_zeros: bool = False
    by_matrix: bool = False
    by_rows: bool = True


def load(name: str) -> ModuleType:
    """The module of a kind, by its name or the path of a file.

    Raises:
        UserError: there is no such kind; the message lists the known ones.
    """
    return plugins.load(ROOM, name, holds=("KIND",))


def kind(name: str) -> Kind:
    """The record of a kind; see `load`."""
    return cast(Kind, load(name).KIND)
