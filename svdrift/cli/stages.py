"""The stages of a study as a tree: method, data, checkpoints, cost, and what is done.

Run it in the folder of the workflow. A line names the checkpoints that are kept from one start:
`sft-{4,16}` are `sft-4` and `sft-16`. On a study for GPUs the cost is calculated for all seeds
(`make budget` says from what); on a CPU it is the time and disk that finished runs took.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from svdrift.checkpoints import Checkpoint
from svdrift.cli.text import duration, last_time
from svdrift.study.data import Expert, Filter, Mixture, Replies
from svdrift.study.overlays import DEFAULT, read_config, require_name
from svdrift.study.settings import Settings, read_settings
from svdrift.study.stages import Stage

MODELS = Path("experiments/models")  # configurations of models of the hub
RESULTS = Path("results")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "study",
        nargs="?",
        type=Path,
        metavar="STUDY.yaml",
        help="an overlay of config.yaml; none for the default study",
    )


def main(args: argparse.Namespace) -> int:
    """Print the tree.

    Raises:
        UserError: the study is not valid.
    """
    config = read_config(args.study)
    require_name(config, [args.study] if args.study else [], DEFAULT)
    settings = read_settings(config)
    seeds = ", ".join(map(str, settings.seeds))
    print(f"{settings.study}, seed{'s' * (len(settings.seeds) > 1)} {seeds}\n")
    print("\n".join(tree(settings, costs(settings))))
    return 0


def tree(settings: Settings, cost: dict[str, str]) -> Iterator[str]:
    """The lines of the tree: each stage below the stage of its first start."""
    below: dict[str | None, list[Stage]] = {}
    for stage in settings.graph:
        first = stage.starts[0]
        below.setdefault(None if first is None else first.stage, []).append(stage)

    def branch(stage: Stage, first: str, then: str) -> Iterator[str]:
        parts = [stage.record.label, learns_from(settings, stage), *also_from(stage)]
        yield f"{first}{stage.name}: {', '.join(part for part in parts if part)}"
        children = below.get(stage.name, [])
        inner = then + ("│  " if children else "   ")
        for start in stage.starts:
            yield f"{inner}{braced(stage.kept(start))}  {done(settings, stage.kept(start))}"
        yield f"{inner}cost: {cost[stage.name]}"
        for child in children:
            last = child is children[-1]
            yield then + "│"
            yield from branch(
                child, then + ("└─ " if last else "├─ "), then + "│  " * (not last) + "   " * last
            )

    for root in below[None]:
        yield from branch(root, "", "")


def also_from(stage: Stage) -> Iterator[str]:
    """The other stages that it starts from, below which the tree does not show it."""
    names = dict.fromkeys(start.stage for start in stage.starts if start is not None)
    if len(names) > 1:
        yield f"from {' and '.join(names)}"


def learns_from(settings: Settings, stage: Stage) -> str:
    """What a stage learns from, in a few words."""
    if stage.record.learns_from == "skills":
        return "on the task's skills"
    return "" if stage.data is None else f"on {described(settings, stage.data)}"


def described(settings: Settings, name: str) -> str:
    """A split, or what data is made from."""
    data = settings.graph.data.get(name)
    again = partial(described, settings)
    if data is None:
        return f"{name} ({settings.task.count(name):,} problems)"
    if isinstance(data, Mixture):
        return " + ".join(f"{share:.0%} {again(used)}" for used, share in data.mix.items())
    if isinstance(data, Replies):
        which = ["verified"] * data.verified + ["distinct"] * data.distinct
        samples = f"{data.samples} samples each" if data.samples > 1 else "one each"
        return (
            f"{' '.join([*which, 'replies'])} of {settings.asked[name]} to {again(data.on)}, "
            f"{samples}"
        )
    if isinstance(data, Filter):
        rates = f"{data.pass_rate.at_least:.0%} to {data.pass_rate.at_most:.0%}"
        return f"those of {again(data.on)} that {settings.asked[name]} solves {rates} of the time"
    if isinstance(data, Expert):
        return f"{again(data.on)}, replies by the expert '{data.expert}'"
    changes = ", ".join(f"{key} {value}" for key, value in data.changes.items())
    return f"{again(data.on)} under {changes}"


def braced(checkpoints: tuple[Checkpoint, ...]) -> str:
    """Ids of checkpoints of one run: `sft-{4,16}`."""
    if len(checkpoints) == 1:
        return str(checkpoints[0])
    steps = ",".join(str(checkpoint.step) for checkpoint in checkpoints)
    return f"{checkpoints[0].run}-{{{steps}}}"


def done(settings: Settings, checkpoints: tuple[Checkpoint, ...]) -> str:
    """How many of the checkpoints are there, over all seeds."""
    expected = [
        RESULTS / settings.study / f"seed-{seed}" / "models" / str(checkpoint)
        for seed in settings.seeds
        for checkpoint in checkpoints
    ]
    there = sum(folder.is_dir() for folder in expected)
    return "done" if there == len(expected) else f"{there} of {len(expected)} done"


def costs(settings: Settings) -> dict[str, str]:
    """What each stage costs, by its name; `-` where nothing is known."""
    if settings.compute.device == "cuda":
        return calculated(settings)
    return {stage.name: measured(settings, stage) for stage in settings.graph}


def measured(settings: Settings, stage: Stage) -> str:
    """Time and disk that the finished runs of a stage took."""
    folder = RESULTS / settings.study
    seconds = [
        second
        for seed in settings.seeds
        for run in stage.runs
        for second in last_time(folder / "benchmarks" / f"seed-{seed}" / "train" / f"{run}.tsv")
    ]
    size = sum(
        file.stat().st_size
        for seed in settings.seeds
        for checkpoint in stage.checkpoints
        for file in (folder / f"seed-{seed}" / "models" / str(checkpoint)).glob("**/*")
        if file.is_file()
    )
    parts = [duration(seconds)] * bool(seconds) + [f"{size / 1e6:.1f} MB"] * bool(size)
    return ", ".join(parts) or "-"


def calculated(settings: Settings) -> dict[str, str]:
    """GPU hours and disk of each stage, from the budget."""
    from svdrift.budget.costs import Machine
    from svdrift.budget.shape import shape_of, without_weights
    from svdrift.budget.table import hours_text, size_text, stage_item

    shape, seeds = shape_of(without_weights(settings, MODELS), settings), len(settings.seeds)
    items = {stage.name: stage_item(stage, settings, shape, Machine()) for stage in settings.graph}
    return {
        name: f"{hours_text(seeds * item.jobs * item.gpu_seconds)} GPU hours, "
        f"{size_text(seeds * item.jobs * item.kept) or '0 MB'}"
        for name, item in items.items()
    }
