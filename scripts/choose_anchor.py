"""Choose the anchor: the SFT checkpoint with the best OOD accuracy on the selection hands."""

import argparse
import json
from pathlib import Path

import pandas as pd

from svdrift.checkpoints import Checkpoint
from svdrift.scripting import run

SPLIT = "ood_selection"  # never a test set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accuracy", type=Path, nargs="+", required=True, help="SFT's tables")
    parser.add_argument("--out", type=Path, required=True, help="the choice (JSON)")
    args = parser.parse_args()

    table = pd.concat([pd.read_parquet(path) for path in args.accuracy], ignore_index=True)
    args.out.write_text(json.dumps(choose(table), indent=2) + "\n")


def choose(accuracy: pd.DataFrame) -> dict[str, object]:
    """The best row of the accuracy table on the selection split; the earlier step on a tie."""
    rows = accuracy.query(
        "split == @SPLIT and subset == 'all' and measure == 'solved_first_try'"
    ).copy()
    rows["step"] = rows["checkpoint"].map(lambda text: Checkpoint.parse(text).sft_step)
    best = rows.sort_values(["value", "step"], ascending=[False, True]).iloc[0]
    return {
        "checkpoint": best["checkpoint"],
        "sft_step": int(best["step"]),
        "split": SPLIT,
        "accuracy": float(best["value"]),
        "n": int(best["n"]),
    }


if __name__ == "__main__":
    run(main)
