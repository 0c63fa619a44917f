"""What a study would cost: GPU hours and disk, calculated from its settings and its model's shape.

Nothing here is measured. Every rate that is assumed stands in `Machine` and `TOKENS`; what is
exact are counts: of parameters, matrices, checkpoints, jobs, steps and hands.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from transformers import PreTrainedModel

from svdrift.settings.evaluation import REPAIRED_SPLITS, EvaluatedSplit
from svdrift.settings.study import Settings
from svdrift.settings.training import GRPOSettings, PPOSettings, SFTSettings
from svdrift.spectra.matrices import Labels
from svdrift.tasks.general_points.splits import SIZE_KEYS
from svdrift.training.parameters import freeze

BYTES = {"float32": 4, "bfloat16": 2}
HOUR = 3600.0
ROLLOUT_BATCH = 256  # prompts that are continued at once while RL plays


class Tokens(NamedTuple):
    """Lengths in tokens, chat template included."""

    prompt: int  # the first user turn
    reply: int  # a solution
    feedback: int  # the user turn after a wrong reply


TOKENS = {"compact": Tokens(16, 17, 4), "paper": Tokens(202, 56, 55)}
"""By `task.prompt_style`; of `paper` as the tokenizer of SmolLM2 counts, on average."""


@dataclass(frozen=True)
class Machine:
    """What a GPU and its file system achieve; by default an H100, as estimated."""

    flops: float = 4e14  # a second, of bf16 training and prompts: 40 % of the peak
    memory: float = 3.3e12  # bytes a second: a decoding step reads all weights
    step_s: float = 0.03  # least seconds of a decoding step: Python starts the kernels
    svd_flops: float = 2.5e11  # a second, of decompositions in float32
    storage: float = 2e9  # bytes a second of the file system


@dataclass(frozen=True)
class Shape:
    """What a model's cost depends on.

    Attributes:
        parameters: all of them, those of a vision tower too.
        trained: those that SFT trains.
        active: those that each token is multiplied by: neither embedding nor what text skips.
        matrices: shapes of the matrices that are decomposed.
        moving: shapes of those among them that training changes.
    """

    parameters: int
    trained: int
    active: int
    matrices: tuple[tuple[int, int], ...]
    moving: tuple[tuple[int, int], ...]


class Item(NamedTuple):
    """A line of the budget: jobs of one kind, of one seed."""

    what: str
    jobs: int
    gpu_seconds: float  # of one
    kept: float = 0.0  # bytes that one leaves


def shape_of(model: PreTrainedModel, settings: Settings) -> Shape:
    """The shape of a model, which may lie on PyTorch's meta device, where it has no weights."""
    labels = Labels(settings.spectra.patterns)
    freeze(model, embeddings=False)
    touched = [p for p in model.parameters() if p.requires_grad]
    looked_up = sum(p.numel() for p in model.get_input_embeddings().parameters())
    if model.config.get_text_config().tie_word_embeddings:
        looked_up = 0  # and then multiplied, as the head
    freeze(model, embeddings=settings.sft.freeze_embeddings)
    labelled = {
        name: p for name, p in model.named_parameters() if labels.of_matrix(name) is not None
    }
    return Shape(
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        active=sum(p.numel() for p in touched) - looked_up,
        matrices=tuple((p.shape[0], p.shape[1]) for p in labelled.values()),
        moving=tuple((p.shape[0], p.shape[1]) for p in labelled.values() if p.requires_grad),
    )


# --------------------------------------------------------------------------------------
# Costs of one job, in floating-point operations, bytes and seconds


def svd_flops(shape: tuple[int, int]) -> float:
    """Thin SVD with both sides of singular vectors (Golub & Van Loan 1996, 5.4.5: R-SVD)."""
    m, n = max(shape), min(shape)
    return 6.0 * m * n**2 + 11.0 * n**3


def values_flops(shape: tuple[int, int]) -> float:
    """Singular values alone (the same source)."""
    m, n = max(shape), min(shape)
    return 2.0 * m * n**2 + 2.0 * n**3


def factor_bytes(shapes: Iterable[tuple[int, int]]) -> int:
    """Float32 U, S and Vh of each matrix."""
    return sum(4 * min(m, n) * (m + 1 + n) for m, n in shapes)


def training_flops(active: int, tokens: float, recompute: bool) -> float:
    """Forward (2 a parameter and token), backward (4), and the forward again if recomputed."""
    return (8.0 if recompute else 6.0) * active * tokens


def playing_s(
    shape: Shape, settings: Settings, rows: float, batch: int, tries: int, dtype: str, m: Machine
) -> float:
    """GPU seconds of `rows` episodes, `batch` at a time, in which no try is right or short."""
    tokens = TOKENS[settings.task.prompt_style]
    read = sum(tokens.prompt + k * (tokens.reply + tokens.feedback) for k in range(tries))
    step = max(BYTES[dtype] * shape.active / m.memory, m.step_s)
    steps = tries * math.ceil(rows / batch) * settings.task.max_reply_tokens
    return 2.0 * shape.active * read * rows / m.flops + steps * step


def sft_s(shape: Shape, sft: SFTSettings, tokens: Tokens, m: Machine) -> float:
    """GPU seconds of a run of SFT."""
    read = sft.steps * sft.batch_size * (tokens.prompt + tokens.reply)
    return training_flops(shape.active, read, sft.gradient_checkpointing) / m.flops


def rl_s(
    shape: Shape, rl: PPOSettings | GRPOSettings, tokens: Tokens, settings: Settings, m: Machine
) -> float:
    """GPU seconds of a run of RL: episodes, two evaluations of them, and training on them."""
    processes = settings.compute.processes
    length = tokens.prompt + rl.tries * tokens.reply + (rl.tries - 1) * tokens.feedback
    rows = rl.episodes / processes
    played = playing_s(shape, settings, rows, ROLLOUT_BATCH, rl.tries, "bfloat16", m)
    read = length * rl.episodes
    networks = 2 if isinstance(rl, PPOSettings) and rl.value_model == "separate" else 1
    evaluated = 2.0 * shape.active * read * (networks + 1)  # and by the start
    trained = networks * training_flops(shape.active, rl.epochs * read, rl.gradient_checkpointing)
    return rl.updates * (processes * played + (evaluated + trained) / m.flops)


def evaluation_s(
    shape: Shape, settings: Settings, splits: Sequence[str], several: Collection[str], m: Machine
) -> float:
    """GPU seconds in which a checkpoint plays splits, those in `several` with several tries."""
    hands, how = settings.task.hands, settings.evaluation
    sizes = {split: getattr(hands, SIZE_KEYS[split]) for split in splits}
    return sum(
        playing_s(
            shape,
            settings,
            sizes[split],
            how.batch_size,
            how.tries if split in several else 1,
            settings.model.dtype,
            m,
        )
        for split in splits
    )


def drift_s(shape: Shape, settings: Settings, m: Machine) -> float:
    """GPU seconds of a pair: each draw decomposes a matrix, and angles are spectra of blocks."""
    spectra = settings.spectra
    flops = 0.0
    for matrix in shape.moving:
        rank = min(matrix)
        blocks = [round(share * rank) for share in spectra.shares]
        angles = sum(2 * 2 * values_flops((k, k)) for k in blocks)  # left, right; top, bottom
        flops += spectra.draws * svd_flops(matrix) + values_flops(matrix)
        flops += (1 + spectra.draws) * angles
    for matrix in set(shape.matrices):  # unrelated matrices of each shape
        flops += spectra.draws * 2 * values_flops(matrix)
    return flops / m.svd_flops


# --------------------------------------------------------------------------------------
# The whole study


def items(settings: Settings, shape: Shape, m: Machine) -> list[Item]:
    """The lines of a study's budget, for one seed."""
    tokens = TOKENS[settings.task.prompt_style]
    rl, starts = settings.rl.training, settings.rl_starts
    size = float(BYTES[settings.model.dtype] * shape.parameters)
    factors = factor_bytes(shape.matrices)
    on_the_way = len(rl.checkpoint_updates)
    controls = {name: len(steps) for name, steps in settings.control_starts.items()}
    practised = controls.get("demonstrated", 0)
    two_checkpoints = 2 * (2 * size + factors) / m.storage  # weights are hashed, and then read
    play = evaluation_s(
        shape, settings, get_args(EvaluatedSplit), settings.evaluation.multi_try_splits, m
    )
    replay = evaluation_s(shape, settings, REPAIRED_SPLITS, (), m)
    kept = len({*settings.sft.checkpoints, settings.sft.steps})
    of_rl = rl_s(shape, rl, tokens, settings, m)
    return [
        Item("base model", 1, 0.0, size),
        Item("SFT", 1, sft_s(shape, settings.sft, tokens, m), kept * size),
        Item(settings.rl.method.upper(), len(starts) + practised, of_rl, (1 + on_the_way) * size),
        Item(
            "SFT as a control of RL",
            sum(controls.values()) - practised,
            sft_s(shape, settings.matched_sft, tokens, m) if starts else 0.0,
            size,
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
            "updates of SFT and RL",
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
    return "\n".join(
        [
            f"Study `{settings.study}`, {settings.model.source}: "
            f"{_billions(shape.parameters)} parameters, of which {_billions(shape.trained)} are "
            f"trained and {_billions(shape.active)} multiply each token; "
            f"{len(shape.matrices)} matrices.",
            "",
            "| | jobs | GPU hours each | GPU hours | disk each | disk |",
            "| --- | --- | --- | --- | --- | --- |",
            *(
                f"| {line.what} | {line.jobs} "
                f"| {line.gpu_seconds / HOUR:.2f} | {_hours(line.jobs * line.gpu_seconds / HOUR)} "
                f"| {_size(line.kept)} | {_size(line.jobs * line.kept)} |"
                for line in lines
                if line.jobs
            ),
            *(
                f"| **{name}** | | | **{_hours(n * hours)}** | | **{_size(n * kept)}** |"
                for name, n in totals.items()
            ),
            "",
            assumptions(settings, shape, m),
        ]
    )


def assumptions(settings: Settings, shape: Shape, m: Machine) -> str:
    """What the numbers rest on, in words."""
    tokens = TOKENS[settings.task.prompt_style]
    snapshot = 4 * shape.parameters + 8 * shape.trained
    return (
        "Calculated, not measured. "
        f"Of each GPU (H100): {m.flops / 1e12:.0f} TFLOP/s in training and on prompts; a decoding "
        f"step of the `batched` backend reads all weights at {m.memory / 1e12:.1f} TB/s and takes "
        f"{1000 * m.step_s:.0f} ms at least; decompositions in float32 achieve "
        f"{m.svd_flops / 1e12:.2f} TFLOP/s; files pass at {m.storage / 1e9:.0f} GB/s. "
        f"Of the text: prompts have {tokens.prompt} tokens, replies {tokens.reply}, feedback "
        f"{tokens.feedback}; decoding goes on to {settings.task.max_reply_tokens} tokens, and "
        "every try is used. "
        "Training takes 6 operations for each parameter and token, 8 where activations are "
        "recomputed; a thin SVD 6mn² + 11n³. "
        "Waiting, starting and saving are not counted. "
        f"A training job's snapshot takes {_size(snapshot)} more while it runs (float32 weights, "
        "and two moments of what is trained); factors can be deleted once drift and repairs are "
        "done."
    )


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f}·10⁹" if count >= 1e8 else f"{count / 1e6:.3g}·10⁶"


def _size(size: float) -> str:
    """Bytes in the units in which disks are sold."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return ""
