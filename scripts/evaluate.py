"""Evaluate a checkpoint on saved problems: episodes, accuracies and training objectives."""

import argparse
from pathlib import Path

import pandas as pd

from svdrift.compute import device_argument
from svdrift.evaluation.accuracy import WITHIN_TRIES, accuracy_table
from svdrift.evaluation.episodes import label, reply_loss, run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import make_generate
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.models.settings import GenerationSettings
from svdrift.scripting import progress, read_table, run, settings_argument, write_table
from svdrift.tasks import make_task, task_argument
from svdrift.tasks.base import demonstrations
from svdrift.tasks.splits import splits_argument

# SFT and RL train on the first one's distribution; the other measures transfer.
LOSS_ROLES = ("fit", "selection")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, EvaluationSettings)
    task_argument(parser)
    splits_argument(parser)
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, required=True, help="longest reply, in tokens"
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--checkpoint", required=True, help="its id, such as sft-64")
    parser.add_argument(
        "--problems", type=Path, nargs="+", required=True, help="one parquet per split, named by it"
    )
    device_argument(parser)
    dtype_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of sampling (default: 0)")
    parser.add_argument("--episodes", type=Path, required=True, help="out: one row a try (parquet)")
    parser.add_argument("--accuracy", type=Path, required=True, help="out: accuracies (parquet)")
    parser.add_argument(
        "--objectives", type=Path, required=True, help="out: SFT's loss and RL's reward (parquet)"
    )
    args = parser.parse_args()

    task, generate = make_task(args.task), make_generate(args.generation, args.model)
    model = load_model(args.model, dtype=DTYPES[args.dtype]).to(args.device)
    tokenizer = load_tokenizer(args.model)
    tables, objectives = [], []
    splits = {split.name: split for split in args.splits}
    for path in progress(args.problems, len(args.problems), f"evaluating {args.checkpoint}"):
        problems, split = read_table(path), splits[path.stem]
        played = run_episodes(
            model,
            tokenizer,
            task,
            problems,
            tries=args.settings.tries if path.stem in args.settings.multi_try_splits else 1,
            max_new_tokens=args.max_reply_tokens,
            settings=args.settings,
            seed=args.seed,
            generate=generate,
        )
        label(played, args.checkpoint, split)
        tables.append(played)
        if split.role in LOSS_ROLES:
            pairs = demonstrations(task, problems)
            loss = reply_loss(model, tokenizer, pairs, args.settings.batch_size)
            reward = played.loc[played["try_number"] == 1, "reward"].mean()
            place = {"split": split.name, "role": split.role, "shift": split.shift}
            objectives += [
                {**place, "measure": "sft_loss", "n": len(problems), "value": loss},
                {**place, "measure": "reward", "n": len(problems), "value": reward},
            ]
    episodes = pd.concat(tables, ignore_index=True)
    write_table(episodes, args.episodes)
    accuracy = accuracy_table(episodes, task.faults)
    once = ~accuracy["split"].isin(args.settings.multi_try_splits)
    accuracy = accuracy[~(once & accuracy["measure"].str.endswith(WITHIN_TRIES))]
    write_table(accuracy, args.accuracy)
    write_table(pd.DataFrame(objectives), args.objectives)


if __name__ == "__main__":
    run(main)
