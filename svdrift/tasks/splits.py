"""What the rest of the library knows of a task's splits: their roles, never their names."""

from __future__ import annotations

import argparse
import json
from typing import Literal

from pydantic import ValidationError

from svdrift.errors import UserError, explain
from svdrift.section import Section

Kind = Literal["training", "fit", "selection", "test"]

ID, OOD = "id", "ood"
"""Shifts: the distribution that a study trains on, and the one that its story asks about."""


class Split(Section):
    """A set of problems that a task deals.

    Attributes:
        name: of the split, and of its file.
        role: `training`: stages learn from it. `fit`: like the training data of the first stage,
            to see how well they are fitted. `selection`: checkpoints and settings are chosen on
            it. `test`: results are reported on it.
        shift: `id`, `ood`, or for further distributions a name of the task's own.
        label: in figures and tables.
        after: training splits that must be dealt before it.
    """

    name: str
    role: Kind
    shift: str = ID
    label: str = ""
    after: tuple[str, ...] = ()


def splits_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--splits`, a JSON list of splits, to a program's arguments."""

    def parse(text: str) -> list[Split]:
        try:
            return [Split.model_validate(split) for split in json.loads(text)]
        except ValidationError as error:
            raise UserError(f"--splits: {explain(error, Split)}") from None
        except (ValueError, TypeError) as error:
            raise UserError(f"--splits: not a JSON list of splits ({error})") from None

    parser.add_argument(
        "--splits", type=parse, required=True, metavar="JSON", help="names, roles and shifts"
    )
