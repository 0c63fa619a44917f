"""Draw one figure from its tables: PDF, PNG, and the CSV of what it shows."""

import argparse
import importlib
import inspect
from pathlib import Path
from typing import Any

import pandas as pd

from svdrift.errors import UserError
from svdrift.figures import style
from svdrift.scripting import read_table, run
from svdrift.story import Story


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", help="a module of svdrift.figures, such as accuracy_by_step")
    parser.add_argument(
        "tables", nargs="+", metavar="NAME=TABLE", help="its tables (parquet or csv) by argument"
    )
    parser.add_argument("--story", type=Story.model_validate_json, help="the study's story (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="the figure's path; any suffix")
    args = parser.parse_args()

    module = importlib.import_module(f"svdrift.figures.{args.figure}")
    given = dict(item.split("=", 1) for item in args.tables)
    arguments: dict[str, Any] = {name: read(Path(path)) for name, path in given.items()}
    if "story" in inspect.signature(module.draw).parameters:
        if args.story is None:
            raise UserError(f"{args.figure}: needs the study's story (--story)")
        arguments["story"] = args.story
    style.save(module.draw(**arguments), args.out)


def read(path: Path) -> pd.DataFrame:
    """A table by its suffix, .parquet or .csv."""
    if path.suffix == ".parquet":
        return read_table(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    raise UserError(f"{path}: not a table (allowed: .parquet, .csv)")


if __name__ == "__main__":
    run(main)
