"""Each thing that must be fast, against what people would run instead, on one machine in one run.

python -m benchmarks [--size full|pico] [--rows NAME ...] [--repeats 3] [--out FILE]

Ways take turns, so that a machine that slows down slows down both; medians count. The tables go to
docs/performance.md with `--page`, all times to a JSON file with the machine and the versions.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, PreTrainedModel
from trl import SFTTrainer

from benchmarks.generation import transformers_generate
from benchmarks.gpu import GAME, SEED, SIZES, SMOLLM2, Bench, build
from svdrift.evaluation.episodes import run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models import loading
from svdrift.models.generation import generate
from svdrift.models.tiny import make_tokenizer
from svdrift.recovery.apply import recover_tensors
from svdrift.recovery.interventions import Intervention
from svdrift.scripting import PACKAGES
from svdrift.spectra.decomposition import Decomposed, decompose, decompose_checkpoint
from svdrift.tasks import make_task
from svdrift.training.sft import train as sft
from svdrift.training.sft import trainer

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: written by `make bench` -->\n", "<!-- end of bench -->\n"
SHARES = tuple(tenth / 10 for tenth in range(1, 11))


class Way(NamedTuple):
    """One way to do the thing.

    Attributes:
        part: the share of the whole that `run` does; its time counts for the whole.
    """

    name: str
    run: Callable[[], Any]
    part: float = 1.0


class Row(NamedTuple):
    """A thing to do; the first way is the library's."""

    what: str
    ways: Sequence[Way]


# ------------------------------------------------------------------------------------- weights


def pair(bench: Bench) -> tuple[Path, Path]:
    """Two float32 checkpoints of SmolLM2-135M's shape: random weights, and some noise on them."""
    before, after = bench.work / "before", bench.work / "after"
    if not after.exists():
        tokenizer = make_tokenizer(bench.task.words)
        model = build(LlamaConfig(**bench.size.middle), "cpu")
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:  # as trained matrices: a direction stands out
                    parameter += 2 * torch.ones(len(parameter), 1) @ parameter[:1]
        loading.save_checkpoint(model, tokenizer, before, torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01 * parameter.std() * torch.randn_like(parameter)
        loading.save_checkpoint(model, tokenizer, after, torch.float32)
    return before, after


def decomposition(bench: Bench) -> Iterator[Row]:
    """Of each matrix of one checkpoint."""
    tensors = load_file(pair(bench)[1] / "model.safetensors")
    matrices = [tensor for tensor in tensors.values() if tensor.ndim == 2]

    def each(svd: Callable[[torch.Tensor], Any]) -> None:
        for matrix in matrices:
            svd(matrix)

    yield Row(
        "decomposition of a checkpoint, embedding included",
        [
            Way("library", partial(each, partial(decompose, device="cpu"))),
            Way(
                "LAPACK in float32, no better than 1e-6",
                partial(each, partial(torch.linalg.svd, full_matrices=False)),
            ),
            Way(
                "LAPACK in float64",
                partial(
                    each, lambda matrix: torch.linalg.svd(matrix.double(), full_matrices=False)
                ),
            ),
        ],
    )


def recovery(bench: Bench) -> Iterator[Row]:
    """Repairs by directions: ten shares of ranks, and four blocks of layers."""
    anchor, target = pair(bench)
    out = bench.work / "repaired.safetensors"
    factors = {folder: bench.work / f"{folder.name}.factors.safetensors" for folder in pair(bench)}
    variants = [Intervention("directions", top=share) for share in SHARES]
    blocks = min(4, bench.size.middle["num_hidden_layers"])
    variants += [
        Intervention("directions", top=1.0, layers=(block / blocks, (block + 1) / blocks))
        for block in range(blocks)
    ]

    def decomposing() -> None:
        for folder, file in factors.items():
            file.unlink(missing_ok=True)
            decompose_checkpoint(folder, file)

    def sweep() -> None:
        ours, theirs = (Decomposed.open(folder, factors[folder]) for folder in (target, anchor))
        for variant in variants:
            save_file(dict(recover_tensors(ours, theirs, variant)), out)

    def from_scratch() -> None:
        decomposing()
        sweep()

    def published() -> None:
        """A variant: load both, decompose every matrix of both, replace, save."""
        ours, theirs = (load_file(folder / "model.safetensors") for folder in (target, anchor))
        for name, tensor in ours.items():
            if tensor.ndim == 2:
                _, S, _ = torch.linalg.svd(tensor, full_matrices=False)
                U, _, Vh = torch.linalg.svd(theirs[name], full_matrices=False)
                ours[name] = (U * S) @ Vh
        save_file(ours, out)

    decomposing()
    each = Way("each variant anew, as published", published, 1 / len(variants))
    what = f"a recovery sweep of {len(variants)} variants"
    yield Row(f"{what}, from two checkpoints", [Way("library", from_scratch), each])
    yield Row(f"{what}, from their factors", [Way("library", sweep), each])


# ---------------------------------------------------------------------------------- generation


def by_transformers(batch_size: int) -> Callable[..., list[list[int]]]:
    """A backend that lets `model.generate` write the replies, in such batches."""

    def write(
        model: PreTrainedModel, prompts: Sequence[Sequence[int]], **options: Any
    ) -> list[list[int]]:
        was_training = model.training
        model.eval()
        replies = transformers_generate(
            model,
            list(map(list, prompts)),
            batch_size,
            options["max_new_tokens"],
            list(options["stop_ids"]),
            options["pad_id"],
            options.get("temperature", 0.0),
        )
        model.train(was_training)
        return replies

    return write


def evaluation(bench: Bench) -> Iterator[Row]:
    """Greedy episodes, of the tiny model and of SmolLM2-135M's shape."""
    problems = bench.problems("id_selection").head(bench.size.problems)
    few = problems.head(max(1, len(problems) // 16))
    for name, folder, tries in (
        ("the tiny model", bench.base()[0], 5),
        ("SmolLM2-135M's shape", pair(bench)[0], 1),
    ):
        model, tokenizer = loading.load_model(folder), loading.load_tokenizer(folder)

        def play(
            rows: Any,
            write: Any,
            model: Any = model,
            tokenizer: Any = tokenizer,
            tries: int = tries,
        ) -> None:
            run_episodes(
                model,
                tokenizer,
                make_task(GAME.play("id_selection")),
                rows,
                tries=tries,
                max_new_tokens=GAME.max_reply_tokens,
                settings=EvaluationSettings(),
                seed=SEED,
                generate=write,
            )

        one_by_one = by_transformers(1)
        yield Row(
            f"evaluation of {name}: {len(problems)} problems, {tries} tries at most",
            [
                Way("library", partial(play, problems, generate)),
                Way(
                    "one at a time, by `generate`",
                    partial(play, few, one_by_one),
                    len(few) / len(problems),
                ),
            ],
        )


@contextmanager
def by_trl() -> Iterator[None]:
    """SFT by TRL's own trainer, and attention as transformers has it."""
    ours = trainer.ReplyTrainer, sft.suit_attention
    trainer.ReplyTrainer, sft.suit_attention = SFTTrainer, lambda model: None  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        trainer.ReplyTrainer, sft.suit_attention = ours  # type: ignore[misc]


def supervised(bench: Bench) -> Iterator[Row]:
    """Steps of SFT of a model with a large vocabulary."""
    start, _ = pair(bench)
    full = bench.size.middle is SMOLLM2
    steps, batch = (4, 32) if full else (1, 8)
    settings = {"steps": steps, "batch_size": batch, "micro_batch_size": batch, "warmup_steps": 0}
    runs = iter(range(1000))

    def train(way: Callable[[], AbstractContextManager[None]]) -> None:
        with way():
            name = f"sft-{next(runs)}"
            bench.train("sft", start, settings, [steps], name, dtype=torch.bfloat16)

    yield Row(
        f"{steps} steps of SFT of SmolLM2-135M's shape in bfloat16, {batch} sequences each",
        [
            Way("library", partial(train, nullcontext)),
            Way("TRL's own trainer", partial(train, by_trl)),
        ],
    )


def reinforcement(bench: Bench) -> Iterator[Row]:
    """Updates of the tiny model, by the defaults of the method."""
    base, _ = bench.base()
    count, runs = bench.size.updates, iter(range(1000))
    small = {} if count > 1 else {"episodes": 8, "minibatch_size": 8}  # a rehearsal
    episodes = small.get("episodes", 128)

    def train(method: str, write: Any, updates: int, **settings: int) -> None:
        name = f"{method}-{next(runs)}"
        bench.train(method, base, small | settings, [updates], name, write=write)

    yield Row(
        f"{count} updates of RL, {episodes} episodes each",
        [
            Way("library, PPO", partial(train, "ppo", generate, count)),
            Way("TRL's GRPO, replies by the library", partial(train, "grpo", generate, count)),
            Way(
                "TRL's GRPO, replies by `generate`",
                partial(train, "grpo", by_transformers(episodes), count),
            ),
            Way(
                "PPO one episode at a time, as published",
                partial(train, "ppo", by_transformers(1), 1, micro_batch_size=1),
                1 / count,
            ),
        ],
    )


# ------------------------------------------------------------------------------------ workflow

BARE = """
rule all:
    input: expand("{{number}}.txt", number=range({jobs}))

rule one:
    output: "{{number}}.txt"
    shell: "touch {{output}}"
"""


def dry_run(folder: Path, *arguments: str) -> None:
    """Snakemake's plan of the workflow in a folder."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all", "--nolock"]
    subprocess.run([*command, *arguments], cwd=folder, check=True, capture_output=True)


def dry_runs(bench: Bench) -> Iterator[Row]:
    """Snakemake's plan of many jobs that are all to be done."""
    jobs = 10_000 if bench.size.middle is SMOLLM2 else 200
    seeds = list(range(max(1, jobs // 141)))  # jobs of the default study
    bare = bench.work / "bare"
    bare.mkdir(exist_ok=True)
    (bare / "Snakefile").write_text(BARE.format(jobs=jobs))
    yield Row(
        f"dry run of {jobs:,} jobs",
        [
            Way("a study of many seeds", partial(dry_run, ROOT, "--config", f"seeds={seeds}")),
            Way("Snakemake on a bare graph", partial(dry_run, bare)),
        ],
    )


@contextmanager
def busy_cores() -> Iterator[None]:
    """One process on each core that does nothing but compute."""
    command = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def beside_load(bench: Bench) -> Iterator[Row]:
    """`svdrift compare` where every core is taken already."""
    before, after = map(str, pair(bench))
    command = [sys.executable, "-m", "svdrift", "compare", before, after, "--draws", "2"]

    def compare(**variables: str) -> None:
        others = {name: text for name, text in os.environ.items() if name != "OMP_NUM_THREADS"}
        with busy_cores():
            subprocess.run(
                [*command, "--modules", "k"],
                cwd=ROOT,
                env=others | variables,
                check=True,
                capture_output=True,
            )

    yield Row(
        "`svdrift compare --modules k`, each core taken by another process",
        [
            Way("as it comes", compare),
            Way("`OMP_NUM_THREADS=1`", partial(compare, OMP_NUM_THREADS="1")),
        ],
    )


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "decomposition": decomposition,
    "recovery": recovery,
    "evaluation": evaluation,
    "supervised": supervised,
    "reinforcement": reinforcement,
    "dry_runs": dry_runs,
    "beside_load": beside_load,
}


# ---------------------------------------------------------------------------------------- main


def measure(row: Row, repeats: int) -> dict[str, list[float]]:
    """Seconds of each way for the whole thing, of each repeat; the ways take turns."""
    seconds: dict[str, list[float]] = {way.name: [] for way in row.ways}
    for _ in range(repeats):
        for way in row.ways:
            began = time.perf_counter()
            way.run()
            seconds[way.name].append((time.perf_counter() - began) / way.part)
    return seconds


def lines(what: str, seconds: dict[str, list[float]]) -> list[str]:
    """Rows of the table: times, and how many times the library's."""
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    ours = next(iter(medians.values()))
    return [
        f"| {what if place == 0 else ''} | {way} | {time:.3g} s | {time / ours:.2g} |"
        for place, (way, time) in enumerate(medians.items())
    ]


def about() -> dict[str, Any]:
    """The machine and the versions."""
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"cpu": (names or [platform.machine()])[0], "cores": os.cpu_count(), **versions}


def page(found: dict[str, Any]) -> str:
    """The table and what it was measured on."""
    rows = [line for what, seconds in found["rows"].items() for line in lines(what, seconds)]
    of = found["machine"]
    head = "| what | way | time | times the first |\n| --- | --- | --- | --- |\n"
    return (
        f"Measured on {found['date']}, {found['threads']} threads of {of['cpu']} ({of['cores']} "
        f"cores), PyTorch {of['torch']}; medians of {found['repeats']} runs that took turns.\n\n"
        f"{head}" + "\n".join(rows) + "\n"
    )


def kept(earlier: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Rows that were measured earlier on a machine of this kind, in the same way."""
    same = all(earlier[key] == now[key] for key in ("size", "machine", "threads", "repeats"))
    return dict(earlier["rows"]) if same else {}


def put(begin: str, table: str, end: str) -> None:
    """Write a table to the page between its marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(begin)
    PAGE.write_text(before + begin + table + end + rest.split(end)[1], encoding="utf-8")


def main() -> int:
    """Measure the rows that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, help="JSON with all times; rows that are not named stay as they are"
    )
    parser.add_argument("--page", action="store_true", help="put the table into the docs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "size": arguments.size,
        "threads": arguments.threads,
        "repeats": arguments.repeats,
        "rows": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench("cpu", SIZES[arguments.size], Path(folder))
        found["machine"] = about()
        if arguments.out and arguments.out.exists():
            found["rows"] = kept(json.loads(arguments.out.read_text()), found)
        for name in arguments.rows:
            for row in ROWS[name](bench):
                found["rows"][row.what] = measure(row, arguments.repeats)
                print("\n".join(lines(row.what, found["rows"][row.what])), flush=True)
                if arguments.out:
                    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.page:
        put(BEGIN, page(found), END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
