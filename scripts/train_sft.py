"""Fine-tune a model on demonstrations and keep checkpoints at the listed steps.

Runs under `accelerate launch`. A run that was cut off goes on from its last snapshot in --work.
"""

import argparse
import shutil
import time
from functools import partial
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from svdrift.errors import UserError
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.scripting import (
    progress,
    run,
    run_key,
    settings_argument,
    write_provenance,
)
from svdrift.settings.task import GameSettings
from svdrift.settings.training import SFTSettings
from svdrift.tasks import make_task
from svdrift.tasks.base import demonstrations
from svdrift.tracking import code_digest
from svdrift.training import sharding
from svdrift.training.device import on_gpu
from svdrift.training.processes import leave
from svdrift.training.sft import train_sft
from svdrift.training.snapshots import hand_over


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, SFTSettings)
    settings_argument(parser, GameSettings, "--task")
    parser.add_argument("--model", type=Path, required=True, help="folder of the start")
    parser.add_argument("--hands", type=Path, required=True, help="demonstrated hands (parquet)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of hands (default: 0)")
    parser.add_argument(
        "--out", required=True, help="folder of a checkpoint; {step} in it stands for its step"
    )
    parser.add_argument("--losses", type=Path, help="table of losses (parquet), if wanted")
    dtype_argument(parser)
    parser.add_argument("--work", type=Path, required=True, help="folder for snapshots")
    args = parser.parse_args()
    if len(args.settings.checkpoints) > 1 and "{step}" not in args.out:
        raise UserError(f"--out: {args.out!r} must hold {{step}}, for there are several")
    started = time.time()

    task = make_task(args.task)
    inputs = {"model": args.model, "hands": args.hands}
    key = run_key(
        code_digest("scripts/train_sft.py"),
        inputs,
        [args.settings, args.task],
        seed=args.seed,
        dtype=args.dtype,
        snapshots=sharding.kind(),  # the trainer reads none of another kind
    )
    work = args.work / key[:16]  # a snapshot of another run is not found there
    state = PartialState(cpu=not on_gpu())
    with sharding.in_turn():
        model = load_model(args.model)
        if sharding.wanted():
            sharding.shard(model)
    losses = train_sft(
        model,
        load_tokenizer(args.model),
        demonstrations(task, pd.read_parquet(args.hands)),
        args.settings,
        processes=state.num_processes,
        seed=args.seed,
        work=work,
        dtype=DTYPES[args.dtype],
        progress=partial(progress, name=Path(args.out).name.removesuffix("-{step}")),
    )
    if not state.is_main_process:
        return
    for step in args.settings.checkpoints:
        folder = Path(args.out.format(step=step))
        write_provenance(
            hand_over(work / f"sft-{step}", folder),
            inputs=inputs,
            settings={"sft": args.settings, "task": args.task},
            seed=args.seed,
            started=started,
        )
    if args.losses is not None:
        losses.to_parquet(args.losses, index=False)
    shutil.rmtree(args.work)


if __name__ == "__main__":
    run(main)
    leave()
