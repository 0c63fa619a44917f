"""Several models side by side: the loss of a text, or the accuracy on a task.

Each is compared with the first, on the same windows of the text or the same problems. One model
is in memory at a time. Columns: docs/command-line.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from svdrift.api.evaluating import BATCH, open_evaluation
from svdrift.cli.expected import evaluation_expected
from svdrift.cli.text import aligned, records
from svdrift.cli.threads import threads_argument, use_threads
from svdrift.cli.words import MODEL
from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.models.arguments import dtype_argument
from svdrift.scripting import progress


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help=f"{MODEL}; the first is compared with"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="loss of this text in nats per token, and perplexity; blank lines separate documents",
    )
    what.add_argument(
        "--task",
        metavar="NAME",
        help="accuracy on problems that this task deals, such as general_points",
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="TOKENS",
        help="of the text, read at once (default: 512, or as many as the first model reads)",
    )
    parser.add_argument(
        "--task-settings",
        type=_settings,
        default={},
        metavar="JSON",
        help="keys of `task:` in docs/configuration.md that differ from their defaults; a language "
        'model wants \'{"prompt_style": "paper", "max_reply_tokens": 256}\'',
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        default=[],
        metavar="SPLIT",
        help="of the task (default: its tests); general_points has demonstrations, practice, "
        "demonstrated (hands that SFT was taught), id_selection, id_test, ood_selection, ood_test",
    )
    parser.add_argument(
        "--problems", type=int, metavar="N", help="of each split (default: what the task asks for)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the deal, as the seed of a study (default: 0)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=BATCH,
        help="most windows or problems computed together (default: %(default)s)",
    )
    dtype_argument(parser)
    device_argument(parser)
    threads_argument(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be evaluated and how long it takes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the numbers there too")


def main(args: argparse.Namespace) -> int:
    """Evaluate, and print a table.

    Raises:
        UserError: an argument is out of range, or a model or file cannot be read or written.
    """
    use_threads(args.threads)
    if args.problems is not None and args.problems < 1:
        raise UserError(f"--problems: at least 1, not {args.problems}")
    if args.batch_size < 1:
        raise UserError(f"--batch-size: at least 1, not {args.batch_size}")
    if args.csv is not None and not args.csv.absolute().parent.is_dir():
        raise UserError(f"--csv: {args.csv.parent}: no such folder")
    with open_evaluation(
        args.models,
        text=args.text,
        task=args.task,
        settings=args.task_settings,
        splits=args.splits,
        problems=args.problems,
        window=args.window,
        seed=args.seed,
        dtype=args.dtype,
        device=args.device,
    ) as asked:
        print(evaluation_expected(asked.amount(), args.dtype, args.device), file=sys.stderr)
        if args.dry_run:
            print("\n".join([*asked.notes, "Nothing was evaluated (--dry-run)."]))
            return 0
        found = asked.evaluate(args.batch_size, progress)
    if args.csv is not None:
        found.table.to_csv(args.csv, index=False)
    if args.json:
        report = {"settings": _asked(args), "models": records(found.table), "notes": found.notes}
        print(json.dumps(report, indent=2))
    else:
        print("\n".join([table_text(found.table), "", *found.notes]))
    return 0


def table_text(table: pd.DataFrame) -> str:
    """Format an `Evaluation`'s table for a terminal."""
    accuracy = "accuracy" in table
    value = "accuracy" if accuracy else "loss"
    heading = ["model", *(["split"] if accuracy else []), value, "95 %"]
    heading += [] if accuracy else ["perplexity"]
    lines = [(*heading, "n", "p", "minus the first")]
    called = _called(table["model"].unique().tolist())
    for _, row in table.iterrows():
        cells = [called[row["model"]], *([row["split"]] if accuracy else [])]
        cells += [_number(row[value]), _interval(row["low"], row["high"])]
        cells += [] if accuracy else [f"{row['perplexity']:.4g}"]
        lines.append((*cells, str(row["n"]), _p(row["p"]), _difference(row)))
    return aligned(lines)


def _called(models: list[str]) -> dict[str, str]:
    """Models by the last part of their paths, where that tells them apart."""
    last = [Path(model).name or model for model in models]
    return dict(zip(models, last if len(set(last)) == len(models) else models, strict=True))


def _difference(row: pd.Series) -> str:
    if pd.isna(row["difference"]):
        return ""
    interval = _interval(row["difference_low"], row["difference_high"])
    return f"{row['difference']:+.4f} {interval}"


def _interval(low: float, high: float) -> str:
    return "-" if pd.isna(low) else f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _p(value: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    on_text = ("window",) if args.text else ("task", "task_settings", "splits", "problems", "seed")
    asked = {"text": str(args.text)} if args.text else {}
    return asked | {name: getattr(args, name) for name in (*on_text, "dtype")}


def _settings(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"--task-settings: not a JSON object: {text!r} ({error})") from None
