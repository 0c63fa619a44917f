"""Draw one figure from its tables: PDF, PNG, and the CSV of what it shows."""

import argparse
import importlib
from pathlib import Path

import pandas as pd

from svdrift.errors import UserError
from svdrift.figures import style
from svdrift.scripting import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", help="a module of svdrift.figures, such as accuracy_by_step")
    parser.add_argument(
        "tables", nargs="+", metavar="NAME=TABLE", help="its tables (parquet or csv) by argument"
    )
    parser.add_argument(
        "--number", nargs="*", default=[], metavar="NAME=NUMBER", help="whole numbers by argument"
    )
    parser.add_argument("--out", type=Path, required=True, help="the figure's path; any suffix")
    args = parser.parse_args()

    module = importlib.import_module(f"svdrift.figures.{args.figure}")
    tables = dict(item.split("=", 1) for item in args.tables)
    numbers = dict(item.split("=", 1) for item in args.number)
    drawing = module.draw(
        **{name: read(Path(path)) for name, path in tables.items()},
        **{name: int(number) for name, number in numbers.items()},
    )
    style.save(drawing, args.out)


def read(path: Path) -> pd.DataFrame:
    """A table by its suffix, .parquet or .csv."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    raise UserError(f"{path}: not a table (allowed: .parquet, .csv)")


if __name__ == "__main__":
    run(main)
