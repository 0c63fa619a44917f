"""The budget of a whole study as a table."""

from __future__ import annotations

from typing import NamedTuple

from svdrift.budget.costs import (
    BYTES,
    Machine,
    data_s,
    drift_s,
    evaluation_s,
    factor_bytes,
    svd_flops,
    training_s,
)
from svdrift.budget.shape import Shape
from svdrift.study.settings import Settings
from svdrift.study.stages import Stage

HOUR = 3600.0


class Item(NamedTuple):
    """A line of the budget: jobs of one kind, of one seed."""

    what: str
    jobs: int
    gpu_seconds: float  # of one
    kept: float = 0.0  # bytes that one leaves, on average


def stage_item(stage: Stage, settings: Settings, shape: Shape, m: Machine) -> Item:
    """The line of a stage: a job for each start, and the checkpoints that it keeps."""
    runs, kept = len(stage.starts), len(stage.checkpoints) * model_bytes(settings, shape)
    seconds = training_s(shape, stage, settings, m)
    return Item(f"stage `{stage.name}`", runs, seconds, kept / runs)


def model_bytes(settings: Settings, shape: Shape) -> float:
    """Bytes of a checkpoint."""
    return float(BYTES[settings.model.dtype] * shape.parameters)


def items(settings: Settings, shape: Shape, m: Machine) -> list[Item]:
    """The lines of a study's budget, for one seed."""
    size = model_bytes(settings, shape)
    factors = factor_bytes(shape.matrices, settings.spectra.factors)
    two_checkpoints = 2 * (2 * size + factors) / m.storage  # weights are hashed, then read
    several = settings.evaluation.multi_try_splits
    play = evaluation_s(shape, settings, settings.evaluated_splits, several, m)
    replay = evaluation_s(shape, settings, settings.repaired_splits, (), m)
    return [
        *(stage_item(stage, settings, shape, m) for stage in settings.graph),
        *(
            Item(f"data `{name}`", 1, data_s(shape, settings, name, m) + size / m.storage)
            for name in settings.asked
        ),
        Item("evaluation", len(settings.checkpoints), play + size / m.storage),
        Item(
            "decomposition",
            len(settings.decomposed),
            sum(map(svd_flops, shape.matrices)) / m.svd_flops + factors / m.storage,
            factors,
        ),
        Item("drift of a pair", len(settings.pairs), drift_s(shape, settings, m) + two_checkpoints),
        Item(
            "updates up to a start of RL, and by RL",
            len(settings.update_starts),
            2 * sum(map(svd_flops, shape.moving)) / m.svd_flops + 1.5 * two_checkpoints,
        ),
        Item(
            "repaired model, in memory",
            sum(len(repair.interventions) for repair in settings.repairs.values()),
            replay + two_checkpoints,
        ),
    ]


def table(settings: Settings, shape: Shape, m: Machine) -> str:
    """The budget of a study as a Markdown table, with what it assumes."""
    lines = items(settings, shape, m)
    hours = sum(line.jobs * line.gpu_seconds for line in lines) / HOUR
    kept = sum(line.jobs * line.kept for line in lines)
    seeds = len(settings.seeds)
    totals = {"one seed": 1} | ({f"{seeds} seeds": seeds} if seeds > 1 else {})
    root = settings.graph.maker(settings.graph.checkpoints[0])
    source = getattr(root.settings, "source", None) or "a tiny model"
    return "\n".join(
        [
            f"Study `{settings.study}`, {source}: "
            f"{_billions(shape.parameters)} parameters, of which {_billions(shape.trained)} are "
            f"trained and {_billions(shape.active)} multiply each token; "
            f"{len(shape.matrices)} matrices.",
            "",
            "| | jobs | GPU hours each | GPU hours | disk each | disk |",
            "| --- | --- | --- | --- | --- | --- |",
            *(
                f"| {line.what} | {line.jobs} "
                f"| {line.gpu_seconds / HOUR:.2f} | {hours_text(line.jobs * line.gpu_seconds)} "
                f"| {size_text(line.kept)} | {size_text(line.jobs * line.kept)} |"
                for line in lines
                if line.jobs
            ),
            *(
                f"| **{name}** | | | **{hours_text(n * hours * HOUR)}** | "
                f"| **{size_text(n * kept)}** |"
                for name, n in totals.items()
            ),
            "",
            assumptions(settings, shape, m),
        ]
    )


def assumptions(settings: Settings, shape: Shape, m: Machine) -> str:
    """What the numbers rest on, in words."""
    tokens = settings.task.tokens
    snapshot = 4 * shape.parameters + 8 * shape.trained
    return (
        "Calculated from speeds, not measured. "
        f"Each GPU (H200, measured) achieves {m.flops / 1e12:.0f} TFLOP/s in training and on "
        "prompts; a decoding step of the `batched` backend reads all weights at "
        f"{m.memory / 1e12:.1f} TB/s and takes at least {1000 * m.step_s:.0f} ms; "
        f"decompositions achieve {m.svd_flops / 1e12:.1f} TFLOP/s; the file system passes "
        f"{m.storage / 1e9:.0f} GB/s. "
        f"Prompts have {tokens.prompt} tokens, replies {tokens.reply}, feedback "
        f"{tokens.feedback}; decoding runs to {settings.task.max_reply_tokens} tokens, and "
        "every try is used. "
        "Training takes 6 operations for each parameter and token, 8 where activations are "
        "recomputed; a thin SVD 6mn² + 11n³. "
        "Waiting, starting and saving are not counted. "
        f"A training job's snapshot takes {size_text(snapshot)} more while it runs (float32 "
        "weights, and two moments of what is trained); factors can be deleted once drift and "
        "repairs are done."
    )


def hours_text(seconds: float) -> str:
    """GPU hours, with a decimal below 10."""
    hours = seconds / HOUR
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f}·10⁹" if count >= 1e8 else f"{count / 1e6:.3g}·10⁶"


def size_text(size: float) -> str:
    """Bytes in the units in which disks are sold; empty below a megabyte."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return ""
