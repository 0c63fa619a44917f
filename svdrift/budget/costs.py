"""What one job costs, in floating-point operations, bytes and seconds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from svdrift.budget.shape import Shape
from svdrift.study.arm_costs import sampled
from svdrift.study.settings import Settings
from svdrift.study.stages import Stage
from svdrift.tasks.splits import Split

BYTES = {"float32": 4, "bfloat16": 2}
ROLLOUT_BATCH = 256  # prompts that a training job continues at once


@dataclass(frozen=True)
class Machine:
    """What a GPU and its file system achieve; by default an H200, as measured.

    The measurements are in docs/performance.md; that of the file system is an estimate.
    """

    flops: float = 3.7e14  # a second, of bf16 training and prompts: 47 % of matrix products alone
    memory: float = 4.1e12  # bytes a second: a decoding step reads all weights
    step_s: float = 0.022  # least seconds of a decoding step: Python starts the kernels
    svd_flops: float = 9.5e12  # a second, of decompositions by Gram matrices in float64
    storage: float = 2e9  # bytes a second of the file system


def svd_flops(shape: tuple[int, int]) -> float:
    """Thin SVD with both sides of singular vectors (Golub & Van Loan 1996, 5.4.5: R-SVD)."""
    m, n = max(shape), min(shape)
    return 6.0 * m * n**2 + 11.0 * n**3


def values_flops(shape: tuple[int, int]) -> float:
    """Singular values alone (the same source)."""
    m, n = max(shape), min(shape)
    return 2.0 * m * n**2 + 2.0 * n**3


def factor_bytes(shapes: Iterable[tuple[int, int]], dtype: str) -> int:
    """U and Vh of each matrix in a type, and S in float32."""
    return sum(min(m, n) * (BYTES[dtype] * (m + n) + 4) for m, n in shapes)


def training_flops(active: int, tokens: float, recompute: bool) -> float:
    """Forward (2 a parameter and token), backward (4), and the forward again if recomputed."""
    return (8.0 if recompute else 6.0) * active * tokens


def playing_s(
    shape: Shape, settings: Settings, rows: float, batch: int, tries: int, dtype: str, m: Machine
) -> float:
    """GPU seconds of `rows` episodes, `batch` at a time, in which every try is used in full."""
    tokens = settings.task.tokens
    read = sum(tokens.prompt + k * (tokens.reply + tokens.feedback) for k in range(tries))
    step = max(BYTES[dtype] * shape.active / m.memory, m.step_s)
    steps = tries * math.ceil(rows / batch) * settings.task.max_reply_tokens
    return 2.0 * shape.active * read * rows / m.flops + steps * step


def training_s(shape: Shape, stage: Stage, settings: Settings, m: Machine) -> float:
    """GPU seconds of one run of a stage: what it plays, two evaluations of that, and training."""
    work, tokens = stage.settings.work, settings.task.tokens
    length = tokens.prompt + work.tries * tokens.reply + (work.tries - 1) * tokens.feedback
    trained = work.networks * training_flops(shape.active, work.samples * length, work.recomputes)
    if not work.episodes:
        return trained / m.flops
    processes, steps = settings.compute.processes, stage.settings.total
    rows = work.episodes / steps / processes
    played = playing_s(shape, settings, rows, ROLLOUT_BATCH, work.tries, "bfloat16", m)
    # By each network, and by the start.
    evaluated = 2.0 * shape.active * length * work.episodes * (work.networks + 1)
    return steps * processes * played + (evaluated + trained) / m.flops


def evaluation_s(
    shape: Shape, settings: Settings, splits: Sequence[Split], several: Collection[str], m: Machine
) -> float:
    """GPU seconds in which a checkpoint plays splits, those in `several` with several tries."""
    how = settings.evaluation
    return sum(
        playing_s(
            shape,
            settings,
            settings.task.count(split.name),
            how.batch_size,
            how.tries if split.name in several else 1,
            settings.model.dtype,
            m,
        )
        for split in splits
    )


def data_s(shape: Shape, settings: Settings, name: str, m: Machine) -> float:
    """GPU seconds in which a checkpoint replies to the problems that data is made from."""
    rows = sampled(settings, name)
    batch = settings.evaluation.batch_size
    return playing_s(shape, settings, rows, batch, 1, settings.model.dtype, m)


def drift_s(shape: Shape, settings: Settings, m: Machine) -> float:
    """GPU seconds of a pair: draws of nulls decompose each matrix, angles are spectra of blocks."""
    spectra = settings.spectra
    drawn = len(spectra.nulls) * spectra.draws
    flops = 0.0
    for matrix in shape.moving:
        rank = min(matrix)
        blocks = [round(share * rank) for share in spectra.shares]
        angles = sum(2 * 2 * values_flops((k, k)) for k in blocks)  # left, right; top, bottom
        flops += drawn * svd_flops(matrix) + values_flops(matrix)
        flops += (1 + drawn) * angles
    for matrix in set(shape.matrices):  # unrelated matrices of each shape
        flops += spectra.draws * 2 * values_flops(matrix)
    return flops / m.svd_flops
