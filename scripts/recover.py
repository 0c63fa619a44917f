"""Repair a checkpoint from another one, in memory, and evaluate the result once."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from svdrift.compute import device_argument
from svdrift.evaluation.accuracy import WITHIN_TRIES, accuracy_table
from svdrift.evaluation.episodes import label, run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import make_generate
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.models.settings import GenerationSettings
from svdrift.recovery.apply import recovered
from svdrift.recovery.grid import from_json
from svdrift.recovery.plan import left_alone
from svdrift.scripting import read_table, run, settings_argument, write_table
from svdrift.spectra.arguments import checkpoint_arguments, open_checkpoint
from svdrift.tasks import make_task, task_argument
from svdrift.tasks.splits import splits_argument


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, EvaluationSettings)
    task_argument(parser)
    splits_argument(parser)
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, required=True, help="longest reply, in tokens"
    )
    checkpoint_arguments(parser)
    parser.add_argument("--target", required=True, help="what is repaired: id, or anchor")
    parser.add_argument("--anchor", required=True, help="what from: id, or anchor")
    parser.add_argument("--repair", required=True, help="name of the repair in the tables")
    parser.add_argument("--intervention", type=from_json, required=True, help="its fields as JSON")
    parser.add_argument(
        "--problems", type=Path, nargs="+", required=True, help="one parquet per split, named by it"
    )
    device_argument(parser)
    dtype_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of sampling (default: 0)")
    parser.add_argument(
        "--episodes", type=Path, required=True, help="out: one row a problem (parquet)"
    )
    parser.add_argument("--accuracy", type=Path, required=True, help="out: accuracies (parquet)")
    args = parser.parse_args()

    task = make_task(args.task)
    target_id, target = open_checkpoint(args, args.target)
    anchor_id, anchor = open_checkpoint(args, args.anchor)
    for line in left_alone(target, anchor, args.intervention):
        print(f"WARNING: {args.repair}: {line}", file=sys.stderr)
    folder = target.weights.folder
    generate = make_generate(args.generation, folder)
    model = load_model(folder, dtype=DTYPES[args.dtype]).to(args.device)
    tokenizer = load_tokenizer(folder)
    tables, splits = [], {split.name: split for split in args.splits}
    with recovered(model, target, anchor, args.intervention, args.device):
        for path in args.problems:
            played = run_episodes(
                model,
                tokenizer,
                task,
                read_table(path),
                tries=1,
                max_new_tokens=args.max_reply_tokens,
                settings=args.settings,
                seed=args.seed,
                generate=generate,
            )
            label(played, args.intervention.id, splits[path.stem])
            tables.append(played)
    ids = {
        "repair": args.repair,
        "target": target_id,
        "anchor": anchor_id,
        "intervention": args.intervention.id,
        "kind": args.intervention.kind,
    }
    episodes = pd.concat(tables, ignore_index=True)
    accuracy = accuracy_table(episodes, task.faults).drop(columns="checkpoint")
    accuracy = accuracy[~accuracy["measure"].str.endswith(WITHIN_TRIES)]  # there was one try
    write_table(episodes.assign(**ids), args.episodes)
    columns = args.intervention.columns()
    write_table(accuracy.assign(**(ids | columns)), args.accuracy)


if __name__ == "__main__":
    run(main)
