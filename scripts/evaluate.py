"""Let a checkpoint play saved hands: tables of episodes, accuracies and training objectives."""

import argparse
from pathlib import Path

import pandas as pd

from svdrift.evaluation.accuracy import accuracy_table
from svdrift.evaluation.episodes import reply_loss, run_episodes
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import make_generate
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.scripting import progress, run, settings_argument
from svdrift.settings.evaluation import EvaluationSettings
from svdrift.settings.models import GenerationSettings
from svdrift.settings.task import GameSettings
from svdrift.tasks import make_task
from svdrift.tasks.base import demonstrations

# On the first SFT minimises the loss and RL is rewarded; the others tell what that does elsewhere.
LOSS_SPLITS = ("demonstrated", "id_selection", "ood_selection")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, EvaluationSettings)
    settings_argument(parser, GameSettings, "--task")
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, required=True, help="longest reply, in tokens"
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--checkpoint", required=True, help="its id, such as sft-140")
    parser.add_argument(
        "--hands", type=Path, nargs="+", required=True, help="one parquet per split, named by it"
    )
    parser.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
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
    for path in progress(args.hands, len(args.hands), f"evaluating {args.checkpoint}"):
        hands = pd.read_parquet(path)
        played = run_episodes(
            model,
            tokenizer,
            task,
            hands,
            tries=args.settings.tries if path.stem in args.settings.multi_try_splits else 1,
            max_new_tokens=args.max_reply_tokens,
            settings=args.settings,
            seed=args.seed,
            generate=generate,
        )
        played.insert(0, "checkpoint", args.checkpoint)
        played.insert(1, "split", path.stem)
        tables.append(played)
        if path.stem in LOSS_SPLITS:
            pairs = demonstrations(task, hands)
            loss = reply_loss(model, tokenizer, pairs, args.settings.batch_size)
            reward = played.loc[played["try_number"] == 1, "reward"].mean()
            objectives += [
                {"split": path.stem, "measure": "sft_loss", "n": len(hands), "value": loss},
                {"split": path.stem, "measure": "reward", "n": len(hands), "value": reward},
            ]
    episodes = pd.concat(tables, ignore_index=True)
    episodes.to_parquet(args.episodes, index=False)
    accuracy = accuracy_table(episodes, task.faults)
    once = ~accuracy["split"].isin(args.settings.multi_try_splits)
    accuracy = accuracy[~(once & (accuracy["measure"] == "solved_within_tries"))]
    accuracy.to_parquet(args.accuracy, index=False)
    pd.DataFrame(objectives).to_parquet(args.objectives, index=False)


if __name__ == "__main__":
    run(main)
