"""A share of the ranks for each matrix: read from a mapping, or from a JSON file that holds one.

A matrix is named by its layer and module, `0.q`, or by its module alone outside the layers,
`embedding`. Quick to import: settings read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svdrift.errors import UserError, shown

Shares = tuple[tuple[str, float], ...]
"""Names of matrices and their shares, in alphabetical order; a mapping that can be hashed."""
FORM = "a mapping of matrices to shares from 0 to 1, such as {0.q: 0.2, embedding: 0}"


def matrix_name(layer: int | None, module: str) -> str:
    """`0.q` of layer 0 and module q; `embedding` where there is no layer."""
    return module if layer is None else f"{layer}.{module}"


def read_shares(given: Any) -> Shares:
    """Read shares from a mapping, from the path of a JSON file, or from `Shares` themselves.

    Raises:
        UserError: the file cannot be read, or it is no such mapping.
    """
    if isinstance(given, str):
        given = _read_file(Path(given))
    if isinstance(given, tuple):
        given = dict(given)
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"shares: {FORM}, or the path of a JSON file, not {shown(given)}")
    for name, share in given.items():
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not isinstance(name, str) or not number or not 0 <= share <= 1:
            raise UserError(f"shares: {FORM}, not {shown(name)}: {shown(share)}")
    return tuple(sorted((name, float(share)) for name, share in given.items()))


def _read_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"shares: {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"shares: {path}: not JSON: {error}") from None
