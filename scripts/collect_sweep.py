"""Join the accuracies at all points of a sweep, with the swept settings as columns."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from svdrift.scripting import read_table, run, write_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--points", type=json.loads, required=True, help="JSON list of {setting: value}"
    )
    parser.add_argument(
        "--accuracy", type=Path, nargs="+", required=True, help="their tables, in the same order"
    )
    parser.add_argument("--out", type=Path, required=True, help="parquet; a CSV goes beside it")
    args = parser.parse_args()

    table = join_points(args.points, [read_table(path) for path in args.accuracy])
    write_table(table, args.out)
    table.to_csv(args.out.with_suffix(".csv"), index=False)


def join_points(points: Sequence[dict[str, Any]], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All tables under one another, with a column for each swept setting before theirs.

    A setting's values stay numbers where all are; else all become text.
    """
    keys = list(points[0])
    numbers = {key: all(type(point[key]) in (int, float) for point in points) for key in keys}
    parts = [
        pd.DataFrame(
            {key: value if numbers[key] else _text(value) for key, value in point.items()},
            index=table.index,
        ).join(table)
        for point, table in zip(points, tables, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    run(main)
