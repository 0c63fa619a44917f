"""Train by one method, from one start, and keep the checkpoints of the listed steps.

Methods on several processes run under `accelerate launch`. A run that was cut off goes on from its
last snapshot in --work; SIGTERM makes it save one.
"""

import argparse
import shutil
import sys
import time
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from svdrift import plugins
from svdrift.compute import device_argument
from svdrift.errors import UserError, choices
from svdrift.live import LiveMetrics, TrackingSettings
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import MODULES, make_generate
from svdrift.models.settings import GenerationSettings
from svdrift.scripting import (
    progress,
    read_table,
    run,
    run_key,
    settings_argument,
    write_provenance,
    write_table,
)
from svdrift.tasks import make_task, task_argument
from svdrift.tracking import code_digest
from svdrift.training import sharding
from svdrift.training.device import on_gpu
from svdrift.training.method import COLUMNS, ROOM, Method, load_settings
from svdrift.training.processes import leave
from svdrift.training.run import Run, Trained, load_train
from svdrift.training.snapshots import hand_over


def main() -> None:
    args = arguments()
    started = time.time()
    inputs = {
        name: path
        for name, path in (("start", args.start), ("problems", args.problems))
        if path is not None
    }
    inputs |= {path.stem: path for path in args.selection}
    parts = [part for part in (args.settings, args.task, args.skills) if part is not None]
    key = run_key(
        code_digest(
            "scripts/train.py",
            *plugins.files(ROOM, args.method, "train"),
            *MODULES[args.generation.backend],
        ),
        inputs,
        parts,
        method=args.method,
        keep=args.keep,  # a snapshot beyond a step that is newly kept does not lead back to it
        seed=args.seed,
        max_reply_tokens=args.max_reply_tokens,
        dtype=args.dtype,
        generation=args.generation.backend,
        snapshots=sharding.kind(),  # a trainer reads none of another kind
    )
    main_process = PartialState(cpu=not on_gpu()).is_main_process
    name = Path(args.models).parent.parent.name if "{step}" in args.models else args.models
    work = args.work / key[:16]  # a snapshot of another run is not found there
    with closing(LiveMetrics(work if main_process else None, args.tracking, key)) as live:
        trained = load_train(args.method)(
            Run(
                start=args.start,
                task=None if args.task is None else make_task(args.task),
                skills=args.skills,
                problems=None if args.problems is None else read_table(args.problems),
                selection=pd.concat(map(read_table, args.selection)) if args.selection else None,
                settings=args.settings,
                keep=tuple(args.keep),
                seed=args.seed,
                work=work,
                key=key,
                dtype=DTYPES[args.dtype],
                max_reply_tokens=args.max_reply_tokens,
                generate=make_generate(args.generation, args.start),
                progress=partial(progress, name=Path(name).name)
                if main_process
                else lambda steps, *_: steps,
                device=args.device,
                live=live,
            )
        )
    if not main_process:
        return
    _check_trained(args, trained)
    for step, kept in trained.checkpoints.items():
        folder = hand_over(kept, Path(args.models.format(step=step)))
        write_provenance(
            folder,
            inputs={**inputs, **trained.inputs},
            settings={
                "method": args.method,
                "settings": args.settings,
                "task": args.task,
                "skills": args.skills,
                "max_reply_tokens": args.max_reply_tokens,
                "generation": args.generation,
                **trained.notes,
            },
            seed=args.seed,
            started=started,
        )
    if args.tables is not None:
        for table, rows in trained.tables.items():
            write_table(rows, Path(args.tables.format(table=table)))
    shutil.rmtree(args.work, ignore_errors=True)


def _check_trained(args: argparse.Namespace, trained: Trained) -> None:
    """Refuse what a method of the user's own left out, before anything is handed over.

    Raises:
        UserError: a wanted checkpoint, a declared table or a column that others read is not there.
    """
    if missing := [step for step in args.keep if step not in trained.checkpoints]:
        raise UserError(f"{args.method}: Trained.checkpoints lacks step {missing[0]} of --keep")
    for table in load_settings(args.method)[0].tables:
        if table not in trained.tables:
            raise UserError(
                f"{args.method}: Trained.tables lacks {table!r}, which METHOD.tables names"
            )
        for column in COLUMNS.get(table, ()):
            if column not in trained.tables[table]:
                raise UserError(
                    f"{args.method}: the table {table!r} has no column {column!r}, which figures "
                    f"and claims read{choices(column, map(str, trained.tables[table]), 'has')}"
                )


def arguments() -> argparse.Namespace:
    """The parsed command line; which settings it takes depends on its --method."""
    method = argparse.ArgumentParser(add_help=False)
    method.add_argument(
        "--method", required=True, help="a folder of svdrift/training, or a .py file of your own"
    )
    parser = argparse.ArgumentParser(description=__doc__, parents=[method])
    known = load_settings(method.parse_known_args()[0].method) if _names_a_method() else None
    if known is not None:
        settings_argument(parser, known[1])
    task_argument(parser, "PlaySettings", "--task", optional=True)
    task_argument(parser, "SkillsSettings", "--skills", optional=True)
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, default=0, help="longest reply of methods that play"
    )
    parser.add_argument("--start", type=Path, help="folder of the model to start from")
    parser.add_argument("--problems", type=Path, help="problems to learn from (parquet)")
    parser.add_argument(
        "--selection",
        type=Path,
        nargs="+",
        default=[],
        help="problems by whose accuracy training may end early (parquet)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument(
        "--keep", type=int, nargs="+", required=True, help="rising steps; training ends at the last"
    )
    parser.add_argument(
        "--models", required=True, help="folder of a checkpoint; {step} in it stands for its step"
    )
    parser.add_argument("--tables", help="path of a table (parquet), with {table} in it")
    device_argument(parser, "where to compute, without accelerate")
    dtype_argument(parser)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for snapshots and live metrics"
    )
    settings_argument(parser, TrackingSettings, "--tracking")
    args = parser.parse_args()
    if known is not None:
        _check(args, known[0])
    if len(args.keep) > 1 and "{step}" not in args.models:
        raise UserError(f"--models: {args.models!r} must hold {{step}}, for several steps are kept")
    return args


def _check(args: argparse.Namespace, record: Method) -> None:
    """Refuse arguments that the method cannot train with."""
    rising = all(a < b for a, b in pairwise(args.keep))
    if not rising or args.keep[0] < 0 or args.keep[-1] > args.settings.total:
        raise UserError(
            f"--keep: {args.keep} are not rising steps of this run (allowed: 0 to "
            f"{args.settings.total})"
        )
    needed = {
        "start": record.starts,
        "problems": record.learns_from == "problems",
        "task": record.learns_from == "problems",
        "skills": record.learns_from == "skills",
    }
    for name, wanted in needed.items():
        if wanted and getattr(args, name) is None:
            raise UserError(f"--{name}: {record.label} needs it")
    if args.settings.reads_selection:
        if not args.selection:
            raise UserError("--selection: early stopping needs it")
        if args.max_reply_tokens < 1:
            raise UserError("--max-reply-tokens: early stopping needs it")


def _names_a_method() -> bool:
    """Whether --method is given, so that --help works without."""
    return any(word.split("=")[0] == "--method" for word in sys.argv[1:])


if __name__ == "__main__":
    run(main)
    leave()
