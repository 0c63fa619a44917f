"""A study's tables."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from svdrift.errors import UserError
from svdrift.scripting import read_table


def load_table(path: str | Path) -> pd.DataFrame:
    """Read a table of a study: `.parquet`, or the `.csv` beside a figure.

    Raises:
        UserError: it cannot be read, or pyarrow is missing.
    """
    path = Path(path)
    if path.suffix != ".csv":
        if find_spec("pyarrow") is None:
            raise UserError(
                f"{path}: reading Parquet needs pyarrow (pip install pyarrow, or "
                "pip install 'svdrift[workflow]')"
            )
        return read_table(path)
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
