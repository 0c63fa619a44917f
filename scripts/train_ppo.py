"""Train a model by PPO with the task's verifier as reward.

Runs under `accelerate launch`, or as it is with one process. A run that was cut off goes on from
its last snapshot in --work; SIGTERM makes it take one after the update at hand.
"""

import argparse
import shutil
import time
from functools import partial
from pathlib import Path

import pandas as pd

from svdrift.errors import UserError
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import MODULES, make_generate
from svdrift.models.loading import load_tokenizer, save_checkpoint
from svdrift.scripting import progress, run, run_key, settings_argument, write_provenance
from svdrift.settings.models import GenerationSettings
from svdrift.settings.task import GameSettings
from svdrift.settings.training import PPOSettings
from svdrift.tasks import make_task
from svdrift.tracking import code_digest
from svdrift.training.ppo import make_accelerator, train_ppo
from svdrift.training.processes import leave
from svdrift.training.snapshots import hand_over


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, PPOSettings)
    settings_argument(parser, GameSettings, "--task")
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, required=True, help="longest reply, in tokens"
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of the start model")
    parser.add_argument("--hands", type=Path, required=True, help="hands to practise (parquet)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of hands, sampling and value head (default: 0)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained model")
    parser.add_argument(
        "--intermediate",
        metavar="PATTERN",
        help="folders of intermediate checkpoints, with {update} in it; without, none are kept",
    )
    parser.add_argument(
        "--metrics", type=Path, required=True, help="table with a row for each update (parquet)"
    )
    parser.add_argument(
        "--advantages", type=Path, required=True, help="table of histograms (parquet)"
    )
    parser.add_argument(
        "--timing", type=Path, help="table of seconds and tokens/s for each update (parquet)"
    )
    dtype_argument(parser)
    parser.add_argument("--work", type=Path, required=True, help="folder for snapshots")
    args = parser.parse_args()
    if args.intermediate is not None and "{update}" not in args.intermediate:
        raise UserError(f"--intermediate: {args.intermediate!r} must hold {{update}}")
    started = time.time()

    inputs = {"model": args.model, "hands": args.hands}
    key = run_key(
        code_digest("scripts/train_ppo.py", *MODULES[args.generation.backend]),
        inputs,
        [args.settings, args.task],
        seed=args.seed,
        max_reply_tokens=args.max_reply_tokens,
        dtype=args.dtype,
        generation=args.generation.backend,
    )
    accelerator = make_accelerator(DTYPES[args.dtype])
    result = train_ppo(
        args.model,
        make_task(args.task),
        pd.read_parquet(args.hands),
        args.settings,
        seed=args.seed,
        max_new_tokens=args.max_reply_tokens,
        accelerator=accelerator,
        work=args.work,
        key=key,
        dtype=DTYPES[args.dtype],
        progress=partial(progress, name=args.out.name)
        if accelerator.is_main_process
        else lambda updates, *_: updates,
        generate=make_generate(args.generation, args.model),
    )
    if accelerator.is_main_process:
        save_checkpoint(result.policy, load_tokenizer(args.model), args.out, DTYPES[args.dtype])
        folders = [args.out]
        if args.intermediate is not None:
            for update, kept in result.checkpoints.items():
                folder = Path(args.intermediate.format(update=update))
                folders.append(hand_over(kept, folder))
        for folder in folders:
            write_provenance(
                folder,
                inputs=inputs,
                settings={
                    "ppo": args.settings,
                    "task": args.task,
                    "max_reply_tokens": args.max_reply_tokens,
                    "generation": args.generation,
                },
                seed=args.seed,
                started=started,
            )
        result.metrics.to_parquet(args.metrics, index=False)
        result.advantages.to_parquet(args.advantages, index=False)
        if args.timing is not None:
            result.timing.to_parquet(args.timing, index=False)
        shutil.rmtree(args.work, ignore_errors=True)


if __name__ == "__main__":
    run(main)
    leave()
