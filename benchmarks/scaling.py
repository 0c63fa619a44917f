"""How time and memory of each stage grow, on the CPU: measured at several sizes, with exponents.

python -m benchmarks.scaling [--size full|pico] [--repeats 3] [--threads 1] [--out FILE] [--page]

Every point is a process of its own. Its time is the median of some calls after one that warms up;
its memory is the peak above what the process held before (models and problems included in neither
where the stage is handed them). An exponent p says that the quantity grows as size**p: the slope
of a straight line through the logarithms. A run that was cut off goes on: what FILE holds, measured
alike, is not measured again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.__main__ import ROOT, about, dry_run, kept, put
from benchmarks.gpu import GAME, SEED, SIZES, Bench
from svdrift.evaluation.episodes import run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models import loading
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.recovery.apply import recover_tensors
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.decomposition import Decomposed, decompose_checkpoint
from svdrift.spectra.drift import drift_tables
from svdrift.spectra.settings import SpectraSettings
from svdrift.tasks import make_task

BEGIN, END = "<!-- scaling: written by `make bench` -->\n", "<!-- end of scaling -->\n"
WIDTH = 96  # of the tiny model


class Law(NamedTuple):
    """A quantity that one size of a stage changes.

    Attributes:
        stage: what is done.
        grows_with: the size, in words.
        prepare: of the bench and a size; returns the size as counted, and what is timed.
        sizes: rising, each about twice the one before.
    """

    stage: str
    grows_with: str
    prepare: Callable[[Bench, int], tuple[float, Callable[[], Any]]]
    sizes: tuple[int, ...]

    @property
    def name(self) -> str:
        """What it is called in results."""
        return f"{self.stage}: {self.grows_with}"


def model_of(bench: Bench, width: int = WIDTH, layers: int = 4) -> Path:
    """A folder with a Llama of the tiny model's shape but for its width or depth."""
    folder = bench.work / f"width-{width}-layers-{layers}"
    if not folder.exists():
        tokenizer = make_tokenizer(bench.task.words)
        shape = ArchitectureSettings(
            hidden_size=width, intermediate_size=8 * width // 3, layers=layers
        )
        torch.manual_seed(width)
        loading.save_checkpoint(make_model(len(tokenizer), shape), tokenizer, folder, torch.float32)
    return folder


def pair_of(bench: Bench, width: int) -> tuple[Decomposed, Decomposed]:
    """Two decomposed checkpoints, the second a noisy copy of the first."""
    before, after = model_of(bench, width), bench.work / f"noisy-{width}"
    model = loading.load_model(before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * parameter.std() * torch.randn_like(parameter)
    loading.save_checkpoint(model, loading.load_tokenizer(before), after, torch.float32)
    both = []
    for folder in (before, after):
        factors = bench.work / f"{folder.name}.factors.safetensors"
        decompose_checkpoint(folder, factors)
        both.append(Decomposed.open(folder, factors))
    return both[0], both[1]


def parameters(folder: Path) -> int:
    """How many a model has."""
    return sum(one.numel() for one in loading.load_model(folder).parameters())


def playing(bench: Bench, folder: Path, problems: int) -> Callable[[], Any]:
    """Greedy episodes of one try."""
    model, tokenizer = loading.load_model(folder), loading.load_tokenizer(folder)
    rows = replace(bench, size=replace(bench.size, problems=problems)).problems("practice")
    rows = rows.sample(problems, replace=True, random_state=SEED)
    return lambda: run_episodes(
        model,
        tokenizer,
        make_task(GAME.play("practice")),
        rows,
        tries=1,
        max_new_tokens=GAME.max_reply_tokens,
        settings=EvaluationSettings(),
        seed=SEED,
    )


def evaluation_by_problems(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Evaluation of the tiny model."""
    return size, playing(bench, model_of(bench), size)


def evaluation_by_parameters(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Evaluation on 256 problems."""
    folder = model_of(bench, size)
    return parameters(folder), playing(bench, folder, min(256, bench.size.problems))


def training(
    bench: Bench, method: str, folder: Path, settings: dict[str, Any], steps: int
) -> Callable[[], Any]:
    """A short run of a stage; every call trains anew."""
    runs = iter(range(1000))
    return lambda: bench.train(
        method, folder, settings, [steps], f"{method}-{time.time_ns()}-{next(runs)}"
    )


def sft_by_parameters(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Eight steps of SFT."""
    folder = model_of(bench, size)
    return parameters(folder), training(bench, "sft", folder, {"steps": 8, "warmup_steps": 2}, 8)


def ppo_by_episodes(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Two updates of PPO."""
    settings = {"episodes": size, "minibatch_size": size}
    return size, training(bench, "ppo", model_of(bench), settings, 2)


def ppo_by_parameters(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Two updates of PPO with 64 episodes."""
    folder = model_of(bench, size)
    settings = {"episodes": 64, "minibatch_size": 64}
    return parameters(folder), training(bench, "ppo", folder, settings, 2)


def decomposition(bench: Bench, folder: Path) -> Callable[[], Any]:
    """All matrices of a checkpoint."""

    def decompose() -> None:
        decompose_checkpoint(folder, bench.work / f"{time.time_ns()}.safetensors")

    return decompose


def decomposition_by_width(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Four layers."""
    return size, decomposition(bench, model_of(bench, size))


def decomposition_by_layers(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Matrices of the tiny model's width."""
    return size, decomposition(bench, model_of(bench, layers=size))


def drift(bench: Bench, width: int, draws: int) -> Callable[[], Any]:
    """Drift of one pair beside its nulls."""
    before, after = pair_of(bench, width)
    spectra = SpectraSettings(draws=draws)
    return lambda: drift_tables(
        before,
        after,
        shares=spectra.shares,
        windows=spectra.windows,
        nulls=spectra.nulls,
        draws=spectra.draws,
        seed=SEED,
        device="cpu",
    )


def drift_by_draws(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """The tiny model."""
    return size, drift(bench, WIDTH, size)


def drift_by_width(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Two draws of each null."""
    return size, drift(bench, size, 2)


def repair(bench: Bench, width: int, share: float) -> Callable[[], Any]:
    """One variant from cached factors; its tensors are made and dropped, one by one."""
    before, after = pair_of(bench, width)

    def recover() -> None:
        for _ in recover_tensors(after, before, Intervention("directions", top=share)):
            pass

    return recover


def repair_by_ranks(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """The leading ranks, in percent, of matrices of width 384."""
    return size, repair(bench, 4 * WIDTH if bench.size.problems > 8 else WIDTH, size / 100)


def repair_by_width(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """The leading fifth of directions."""
    return size, repair(bench, size, 0.2)


def plan_by_seeds(bench: Bench, size: int) -> tuple[float, Callable[[], Any]]:
    """Snakemake's dry run of the default study."""
    return size, lambda: dry_run(ROOT, "--config", f"seeds={list(range(size))}")


WIDTHS = (96, 192, 384, 768)
LAWS = (
    Law("evaluation, tiny model", "problems", evaluation_by_problems, (256, 512, 1024, 2048)),
    Law("evaluation, 256 problems", "parameters", evaluation_by_parameters, WIDTHS),
    Law("8 steps of SFT", "parameters", sft_by_parameters, WIDTHS),
    Law("2 updates of PPO, tiny model", "episodes", ppo_by_episodes, (64, 128, 256, 512)),
    Law("2 updates of PPO, 64 episodes", "parameters", ppo_by_parameters, WIDTHS),
    Law("decomposition, 4 layers", "width", decomposition_by_width, WIDTHS),
    Law("decomposition, tiny width", "layers", decomposition_by_layers, (4, 8, 16, 32)),
    Law("drift of a pair, tiny model", "draws of each null", drift_by_draws, (8, 16, 32, 64)),
    Law("drift of a pair, 2 draws of each null", "width", drift_by_width, WIDTHS),
    Law("a repair, width 384", "share of ranks (%)", repair_by_ranks, (10, 20, 40, 80)),
    Law("a repair, a fifth of the ranks", "width", repair_by_width, WIDTHS),
    Law("dry run of the default study", "seeds", plan_by_seeds, (5, 10, 20, 40)),
)


def exponent(sizes: Sequence[float], amounts: Sequence[float]) -> float:
    """The p of amount ~ size**p: slope of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(amounts), 1)[0])


def measure(name: str, size: int, bench: Bench, repeats: int, threads: int) -> dict[str, float]:
    """One point, in this process: the size as counted, median seconds and MB above the start."""
    torch.set_num_threads(threads)
    prepare = next(law.prepare for law in LAWS if law.name == name)
    counted, run = prepare(bench, size)
    before = peak()
    run()
    memory = peak() - before  # of the first call: later ones find pages that are there
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"size": counted, "seconds": float(np.median(seconds)), "mb": memory / 1e6}


def peak() -> int:
    """Peak resident memory of this process and of the largest program that it ran, in bytes."""
    return 1024 * sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def line(law: Law, points: Sequence[dict[str, float]]) -> str:
    """One row of the table."""
    sizes = [point["size"] for point in points]
    times = [point["seconds"] for point in points]
    shown = " ".join(f"{amount:.2g}" for amount in times)
    ends = f"{sizes[0]:,.0f} to {sizes[-1]:,.0f}"
    power = exponent(sizes, times)
    memory = f"{points[0]['mb']:.0f} to {points[-1]['mb']:.0f}"
    return f"| {law.stage} | {law.grows_with}, {ends} | {shown} | {power:.2f} | {memory} |"


def page(found: dict[str, Any]) -> str:
    """The table and what it was measured on."""
    of = found["machine"]
    rows = [line(law, found["rows"][law.name]) for law in LAWS if law.name in found["rows"]]
    head = (
        "| what | grows with | seconds at each size | exponent of time | MB more at the ends |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    return (
        f"Measured on {found['date']}, {found['threads']} threads of {of['cpu']} ({of['cores']} "
        f"cores), PyTorch {of['torch']}; medians of {found['repeats']} runs.\n\n"
        f"{head}" + "\n".join(rows) + "\n"
    )


def main() -> int:
    """Measure every law that has no row yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON with all points; a run goes on from it")
    parser.add_argument("--page", action="store_true", help="put the table into the docs")
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "size": arguments.size,
        "threads": arguments.threads,
        "repeats": arguments.repeats,
        "machine": about(),
        "rows": {},
    }
    if arguments.out and arguments.out.exists():
        found["rows"] = kept(json.loads(arguments.out.read_text()), found)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench("cpu", SIZES[arguments.size], Path(folder))
        for law in LAWS:
            if law.name in found["rows"]:
                continue
            sizes = law.sizes
            if arguments.size == "pico":
                sizes = tuple(size // 4 for size in sizes[:2])
            points = []
            for size in sizes:
                with ProcessPoolExecutor(1, context) as pool:  # a process that has done nothing yet
                    points.append(
                        pool.submit(
                            measure,
                            law.name,
                            size,
                            bench,
                            arguments.repeats,
                            arguments.threads,
                        ).result()
                    )
            found["rows"][law.name] = points
            print(line(law, points), flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.page:
        put(BEGIN, page(found), END)
    return 0


if __name__ == "__main__":
    sys.exit(main())
