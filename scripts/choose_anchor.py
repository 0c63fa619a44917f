"""Choose the anchor: the path's checkpoint with the best OOD accuracy on selection problems."""

import argparse
import json
from pathlib import Path

import pandas as pd

from svdrift.checkpoints import labels
from svdrift.scripting import read_table, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--accuracy", type=Path, nargs="+", required=True, help="of the path, in its order"
    )
    parser.add_argument(
        "--named", action="store_true", help="the study has named it: there is one to choose from"
    )
    parser.add_argument("--out", type=Path, required=True, help="the choice (JSON)")
    args = parser.parse_args()

    table = pd.concat([read_table(path) for path in args.accuracy], ignore_index=True)
    how = "named in advance" if args.named else "on selection problems of its own seed"
    args.out.write_text(json.dumps(choose(table) | {"chosen": how}, indent=2) + "\n")


def choose(accuracy: pd.DataFrame) -> dict[str, object]:
    """The best row on the OOD selection split, never a test split; the first one on a tie."""
    rows = accuracy.query(
        "role == 'selection' and shift == 'ood' and subset == 'all' "
        "and measure == 'solved_first_try'"
    ).reset_index(drop=True)
    best = rows.iloc[int(rows["value"].argmax())]  # the first of equals
    return {
        **labels(best["checkpoint"]),
        "split": best["split"],
        "accuracy": float(best["value"]),
        "n": int(best["n"]),
    }


if __name__ == "__main__":
    run(main)
