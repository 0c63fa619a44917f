"""Measure something on a checkpoint without training it: one table of all splits."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from svdrift.compute import device_argument
from svdrift.errors import UserError
from svdrift.evaluation.episodes import label
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.backend import make_generate
from svdrift.models.loading import load_model, load_tokenizer
from svdrift.models.settings import GenerationSettings
from svdrift.probes import probe
from svdrift.scripting import (
    progress,
    read_table,
    run,
    settings_argument,
    write_table,
)
from svdrift.tasks import make_task, task_argument
from svdrift.tasks.splits import splits_argument


def main() -> None:
    args = arguments()
    kind = probe.load(args.kind)
    reads = kind.PROBE.reads
    if getattr(args, reads) is None:
        raise UserError(f"--{reads}: {args.kind} reads it")
    writing = {}
    if reads == "model":
        writing = {
            "model": load_model(args.model, dtype=DTYPES[args.dtype]).to(args.device),
            "tokenizer": load_tokenizer(args.model),
            "generate": make_generate(args.generation, args.model),
        }
    played = read_table(args.episodes) if args.episodes else None
    splits, tables = {split.name: split for split in args.splits}, []
    for path in progress(args.problems, len(args.problems), f"probing {args.checkpoint}"):
        problems, split = read_table(path).iloc[: args.count], splits[path.stem]
        found = kind.measure(
            probe.Probed(
                settings=args.settings,
                task=make_task(args.task),
                play=args.task,
                problems=problems,
                seed=args.seed,
                max_new_tokens=args.max_reply_tokens,
                episodes=first_tries(played, split.name),
                others={key: Path(at) for key, at in named(args.others)},
                data={key: read_table(Path(at)) for key, at in named(args.data)},
                device=args.device,
                dtype=DTYPES[args.dtype],
                **writing,
            )
        )
        label(found, args.checkpoint, split)
        tables.append(found)
    write_table(pd.concat(tables, ignore_index=True), args.out)


def arguments() -> argparse.Namespace:
    """The parsed command line; which settings it takes depends on its --kind."""
    kind = argparse.ArgumentParser(add_help=False)
    kind.add_argument(
        "--kind", required=True, help="a kind of svdrift/probes/kinds/, or a .py file of your own"
    )
    parser = argparse.ArgumentParser(description=__doc__, parents=[kind])
    if any(word.split("=")[0] == "--kind" for word in sys.argv[1:]):  # --help works without
        settings_argument(parser, probe.settings_class(kind.parse_known_args()[0].kind))
    task_argument(parser)
    splits_argument(parser)
    settings_argument(parser, GenerationSettings, "--generation")
    parser.add_argument(
        "--max-reply-tokens", type=int, required=True, help="longest reply, in tokens"
    )
    parser.add_argument("--model", type=Path, help="folder of the checkpoint")
    parser.add_argument("--episodes", type=Path, help="what it has played, for kinds that read it")
    parser.add_argument(
        "--others", nargs="*", default=[], metavar="KEY=FOLDER", help="further checkpoints"
    )
    parser.add_argument(
        "--data", nargs="*", default=[], metavar="KEY=FILE", help="further rows (parquet)"
    )
    parser.add_argument("--checkpoint", required=True, help="its id, such as sft-64")
    parser.add_argument(
        "--problems", type=Path, nargs="+", required=True, help="one parquet per split, named by it"
    )
    parser.add_argument("--count", type=int, help="most problems of each split, the first ones")
    device_argument(parser)
    dtype_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="one row a problem (parquet)")
    return parser.parse_args()


def named(given: list[str]) -> list[list[str]]:
    """Keys and paths of `KEY=PATH`."""
    return [one.split("=", 1) for one in given]


def first_tries(played: pd.DataFrame | None, split: str) -> pd.DataFrame | None:
    """The first try at each problem of a split."""
    if played is None:
        return None
    return played[(played["split"] == split) & (played["try_number"] == 1)]


if __name__ == "__main__":
    run(main)
