"""Choose a rank for each matrix by several methods, and evaluate each choice once on the tests."""

import argparse
import json
from functools import cache
from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.evaluation.episodes import label, run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import make_generate
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.models.settings import GenerationSettings
from svdrift.ranks.model import Adjusted
from svdrift.ranks.score import UNITS, accuracy, likelihood
from svdrift.ranks.search import Evaluations, load
from svdrift.ranks.settings import RanksSettings
from svdrift.ranks.space import Ranks
from svdrift.ranks.tables import chosen_rows, tried_rows
from svdrift.recovery.shares import matrix_name
from svdrift.scripting import progress, read_table, run, settings_argument, write_table
from svdrift.spectra.arguments import checkpoint_arguments, open_checkpoint
from svdrift.tasks import make_task, task_argument
from svdrift.tasks.splits import splits_argument


def main() -> None:
    args = arguments()
    settings, task = args.settings, make_task(args.task)
    target_id, target = open_checkpoint(args, settings.target)
    _, anchor = open_checkpoint(args, settings.anchor or settings.target)
    folder = target.weights.folder
    model = load_model(folder, dtype=DTYPES[args.dtype]).to(args.device)
    tokenizer = load_tokenizer(folder)
    generate = make_generate(args.generation, folder)
    problems = {path.stem: read_table(path) for path in args.problems}
    splits = {split.name: split for split in args.splits}
    selection = [problems[n].iloc[: settings.count] for n in problems if splits[n].role != "test"]
    tests = [split for name, split in splits.items() if split.role == "test"]

    adjusted = Adjusted(model, target, anchor, settings.task, args.device)
    space = adjusted.space(settings.cost, settings.choices)
    playing = {
        "max_new_tokens": args.max_reply_tokens,
        "settings": args.evaluation,
        "seed": args.seed,
        "generate": generate,
    }
    if settings.score == "accuracy":
        now = accuracy(model, tokenizer, task, selection, **playing)
    else:
        now = likelihood(model, tokenizer, task, selection)

    @cache
    def score(ranks: Ranks) -> float:
        adjusted.set(ranks)
        return now()

    searches, shares, episodes = [], [], []
    numbers = progress(range(len(settings.methods)), len(settings.methods), "methods")
    for name in (settings.methods[number] for number in numbers):
        evaluations = Evaluations(score, settings.evaluations)
        rng = np.random.default_rng([args.seed, *PurePath(name).stem.encode()])
        method = load(name)
        chosen = method.choose(space, evaluations, rng)
        if not space.fits(chosen):
            raise UserError(f"methods: {name} chose ranks that cost {space.cost(chosen):.3f}")
        ids = {"choice": args.name, "task": settings.task, "method": PurePath(name).stem}
        ids["label"] = method.METHOD.label
        tried = tried_rows(space, evaluations)
        searches.append(tried.assign(**ids, measured=UNITS[settings.score]))
        shares.append(chosen_rows(space, chosen).assign(**ids))
        adjusted.set(chosen)
        for split in tests:
            played = run_episodes(model, tokenizer, task, problems[split.name], tries=1, **playing)
            label(played, target_id, split)
            episodes.append(played.assign(**ids, cost=space.cost(chosen)))
    write_table(pd.concat(searches, ignore_index=True), args.searches)
    write_table(pd.concat(episodes, ignore_index=True), args.episodes)
    write_table(pd.concat(shares, ignore_index=True), args.shares)
    for rows in shares if args.files else ():
        write_shares(rows, args.files / f"{rows['method'].iloc[0]}.json")


def write_shares(rows: pd.DataFrame, path: Path) -> None:
    """Write a method's shares as `svdrift recover --ranks` takes them."""
    named = {
        matrix_name(None if layer < 0 else int(layer), module): share
        for layer, module, share in zip(rows["layer"], rows["module"], rows["share"], strict=True)
    }
    path.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, RanksSettings)
    settings_argument(parser, EvaluationSettings, "--evaluation")
    task_argument(parser)
    splits_argument(parser)
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, required=True, help="longest reply, in tokens"
    )
    checkpoint_arguments(parser)
    parser.add_argument("--name", required=True, help="of this choice, in the tables")
    parser.add_argument(
        "--problems",
        type=Path,
        nargs="+",
        required=True,
        help="one parquet per split, named by it: selection splits choose, tests judge",
    )
    device_argument(parser)
    dtype_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument(
        "--searches", type=Path, required=True, help="out: one row an evaluation (parquet)"
    )
    parser.add_argument(
        "--shares", type=Path, required=True, help="out: one row a method and matrix (parquet)"
    )
    parser.add_argument(
        "--episodes", type=Path, required=True, help="out: one row a method and problem (parquet)"
    )
    parser.add_argument(
        "--files", type=Path, help="out: folder of a JSON file a method, for svdrift recover"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
