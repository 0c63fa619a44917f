"""What one GPU does with every stage, as one JSON file. It needs no network.

python -m benchmarks.gpu --out gpu.json [--device cuda] [--size full|pico] [--parts NAME ...]

Models are trained here (the tiny one) or have random weights: the shape of SmolLM2-135M, and the
published 7B shape. Each part is written to the file as it ends, so that one that fails, or a
machine that is taken away, loses nothing else. `--size pico --device cpu` rehearses it anywhere.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen2Config

import svdrift.tasks.general_points.settings as game
from benchmarks.generation import transformers_generate
from svdrift.budget.costs import svd_flops, training_flops
from svdrift.evaluation.episodes import reply_loss, run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models import loading
from svdrift.models.backend import Generate
from svdrift.models.chat import prompt_tokens
from svdrift.models.generation import generate
from svdrift.models.tiny import make_tokenizer
from svdrift.recovery.apply import recovered
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.decomposition import Decomposed, FactorStore, decompose, decompose_checkpoint
from svdrift.spectra.drift import drift_tables
from svdrift.spectra.settings import SpectraSettings
from svdrift.tasks import make_task, task_class
from svdrift.tasks.base import demonstrations
from svdrift.training.method import load_settings
from svdrift.training.ppo import train as ppo
from svdrift.training.ppo.settings import Settings as PPOSettings
from svdrift.training.run import Run, Trained, load_train
from svdrift.training.sft.settings import Settings as SFTSettings
from svdrift.training.sft.train import train_sft

SEED = 0
GAME = game.Settings(name="general_points")
SMOLLM2 = {  # the shape of SmolLM2-135M
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
QWEN = {  # the shape of Qwen2.5-7B
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
PICO = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    pretraining: dict[str, int] = field(default_factory=dict)
    sft_steps: int = 256
    updates: int = 20
    problems: int = 234
    draws: int = SpectraSettings().draws  # of a null
    matrix: int = 8192  # of the machine's own speed
    middle: dict[str, Any] = field(default_factory=lambda: SMOLLM2)
    shapes: tuple[tuple[int, int], ...] = ((4096, 14336), (3584, 18944))
    large: dict[str, Any] = field(default_factory=lambda: QWEN)
    length: int = 400  # tokens of a prompt of the large model
    new_tokens: int = 128  # of its replies


SIZES = {
    "full": Size(),
    "pico": Size(
        pretraining={"steps": 20, "batch_size": 8},
        sft_steps=8,
        updates=1,
        problems=8,
        draws=2,
        matrix=64,
        middle=PICO,
        shapes=((24, 60),),
        large=PICO,
        length=12,
        new_tokens=4,
    ),
}


@dataclass(frozen=True)
class Bench:
    """Where and how much; `work` is a folder for models that goes away at the end."""

    device: str
    size: Size
    work: Path
    task: Any = field(default_factory=lambda: make_task(GAME.play("practice")))

    def problems(self, split: str) -> pd.DataFrame:
        """The first problems of a split of the default study."""
        dealt: dict[str, pd.DataFrame] = {}
        for one in GAME.splits:
            after = {name: dealt[name] for name in one.after}
            dealt[one.name] = task_class(GAME.name).make_split(
                one.name, GAME.deal(one.name), GAME.count(one.name), SEED, after
            )
        return dealt[split].head(max(self.size.problems, 64))

    def timed(self, compute: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        """What `compute` returns, its seconds, and the most memory of the device in GB."""
        cuda = self.device != "cpu"
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        result = compute()
        if cuda:
            torch.cuda.synchronize()
        cost = {"seconds": time.perf_counter() - began}
        if cuda:
            cost["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        return result, cost

    def median(self, compute: Callable[[], Any], repeats: int = 5) -> float:
        """Median seconds of some calls, after one that warms up."""
        compute()
        return statistics.median(self.timed(compute)[1]["seconds"] for _ in range(repeats))

    def train(
        self,
        method: str,
        start: Path | None,
        settings: dict[str, Any],
        keep: Sequence[int],
        name: str,
        dtype: torch.dtype = torch.float32,
        write: Generate = generate,
    ) -> Trained:
        """Run a stage as the workflow's job does; `write` writes the replies of episodes."""
        record, kind = load_settings(method)
        split = "demonstrations" if method == "sft" else "practice"
        learns = record.learns_from == "problems"
        return load_train(method)(
            Run(
                start=start,
                task=make_task(GAME.play(split)) if learns else None,
                skills=GAME.skills if record.learns_from == "skills" else None,
                problems=self.problems(split) if learns else None,
                settings=kind(**settings),
                keep=tuple(keep),
                seed=SEED,
                work=self.work / name,
                key=name,
                dtype=dtype,
                max_reply_tokens=GAME.max_reply_tokens,
                generate=write,
                progress=lambda steps, *_: steps,
                device=self.device,
            )
        )

    def base(self) -> tuple[Path, dict[str, float]]:
        """The tiny base model of the default study, trained here once, and what that cost."""
        folder, note = self.work / "base" / "step-0", self.work / "base.json"
        if not note.exists():
            _, cost = self.timed(
                lambda: self.train("pretrain", None, self.size.pretraining, [0], "base")
            )
            note.write_text(json.dumps(cost))
        return folder, json.loads(note.read_text())

    def play(self, folder: Path, device: str, dtype: torch.dtype = torch.float32) -> pd.DataFrame:
        """Greedy replies of a model to ID selection problems."""
        model = loading.load_model(folder, dtype=dtype).to(device)  # type: ignore[arg-type]
        return run_episodes(
            model,
            loading.load_tokenizer(folder),
            make_task(GAME.play("id_selection")),
            self.problems("id_selection"),
            tries=1,
            max_new_tokens=GAME.max_reply_tokens,
            settings=EvaluationSettings(),
            seed=SEED,
        )


def machine(bench: Bench) -> dict[str, Any]:
    """Name and own speed: matrix products, and a copy within the device's memory."""
    n, found = bench.size.matrix, dict[str, Any]()
    if bench.device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        found |= {"card": properties.name, "memory_gb": properties.total_memory / 1e9}
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        a, b = (torch.randn(n, n, device=bench.device).to(dtype) for _ in range(2))
        seconds = bench.median(partial(torch.matmul, a, b))
        found[f"{str(dtype).removeprefix('torch.')}_tflops"] = 2 * n**3 / seconds / 1e12
    source = torch.randn(16 * n * n // 4, device=bench.device)
    target = torch.empty_like(source)
    seconds = bench.median(lambda: target.copy_(source))
    return found | {"copy_tb_per_s": 2 * source.numel() * 4 / seconds / 1e12}


def tiny(bench: Bench) -> dict[str, Any]:
    """Each stage of the default study: its cost and, of a trained model, what it solves."""
    base, pretraining = bench.base()
    found: dict[str, Any] = {"pretrain": pretraining}
    steps, updates = bench.size.sft_steps, bench.size.updates
    warmup = min(20, steps - 1)
    sft, cost = bench.timed(
        lambda: bench.train(
            "sft", base, {"steps": steps, "warmup_steps": warmup}, [steps // 4, steps], "sft"
        )
    )
    found["sft"] = cost | {"losses": sft.tables["losses"]["train_loss"].tolist()}
    start, end = sft.checkpoints[steps // 4], sft.checkpoints[steps]
    for method in ("ppo", "grpo"):
        trained, cost = bench.timed(partial(bench.train, method, start, {}, [updates], method))
        rewards = trained.tables["metrics"]["reward_mean"].tolist()
        found[method] = cost | {"seconds_an_update": cost["seconds"] / updates, "rewards": rewards}
    played, cost = bench.timed(lambda: bench.play(start, bench.device))
    found["evaluate"] = cost | {"solved": float(played["solved"].mean()), "n": len(played)}
    for name, folder in (("base", base), ("end", end)):
        _, cost = bench.timed(
            partial(
                decompose_checkpoint,
                folder,
                bench.work / f"{name}.safetensors",
                device=bench.device,
            )
        )
    found["decompose"] = cost
    before, after = (
        Decomposed.open(folder, bench.work / f"{name}.safetensors")
        for name, folder in (("base", base), ("end", end))
    )
    spectra = SpectraSettings(draws=bench.size.draws)
    _, found["drift"] = bench.timed(
        lambda: drift_tables(
            before,
            after,
            shares=spectra.shares,
            windows=spectra.windows,
            nulls=spectra.nulls,
            draws=spectra.draws,
            seed=SEED,
            device=bench.device,
        )
    )

    def repair() -> None:
        model = loading.load_model(end).to(bench.device)  # type: ignore[arg-type]
        with recovered(model, after, before, Intervention("directions", top=0.2), bench.device):
            pass

    _, found["repair"] = bench.timed(repair)
    return found


def agreement(bench: Bench) -> dict[str, Any]:
    """The same on the device and on the CPU: replies, a loss, factors and training."""
    base, _ = bench.base()
    task = make_task(GAME.play("demonstrations"))
    pairs = demonstrations(task, bench.problems("demonstrations"))
    losses, replies, factors = [], [], []
    for device in (bench.device, "cpu"):
        model = loading.load_model(base).to(device)  # type: ignore[arg-type]
        losses.append(reply_loss(model, loading.load_tokenizer(base), pairs, 512))
        replies.append(bench.play(base, device)["reply"])
        path = bench.work / f"agreement-{len(losses)}.safetensors"
        decompose_checkpoint(base, path, device=device)
        factors.append(FactorStore(path))
    values, vectors = 0.0, 0.0
    for key in factors[0].matrices:
        one, other = (store.read(key).double() for store in factors)
        values = max(values, float((one.S - other.S).abs().max() / other.S[0]))
        # Of the leading fifth: singular vectors of close values are free to turn.
        top = max(1, len(one.S) // 5)
        cosines = torch.linalg.svdvals(one.U[:, :top].T @ other.U[:, :top])
        vectors = max(vectors, float(torch.rad2deg(torch.acos(cosines.clamp(max=1)).max())))
    on_cpu = Bench("cpu", bench.size, bench.work / "cpu")
    trained = [_short_training(bench, base), _elsewhere(_short_training, on_cpu, base)]
    return {
        "reply_loss": losses,
        "equal_replies": float((replies[0] == replies[1]).mean()),
        "singular_values_differ_by": values,  # as shares of the largest
        "leading_fifth_turns_degrees": vectors,
        "training": dict(zip(("device", "cpu"), trained, strict=True)),
    }


def _elsewhere(compute: Callable[..., Any], bench: Bench, *arguments: Any) -> Any:
    """Compute in a process of its own: Accelerate takes device and precision once in each."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _compute_on, (bench.device,)) as pool:
        return pool.submit(compute, bench, *arguments).result()


def _compute_on(device: str) -> None:
    os.environ["ACCELERATE_USE_CPU"] = str(device == "cpu").lower()


def _short_training(bench: Bench, start: Path) -> dict[str, list[float]]:
    """Losses of some steps of SFT and rewards of two updates of PPO from the base model."""
    shutil.rmtree(bench.work / "short", ignore_errors=True)
    sft = bench.train("sft", start, {"steps": 8, "warmup_steps": 2}, [8], "short/sft")
    played = bench.train("ppo", start, {"episodes": 64, "minibatch_size": 64}, [2], "short/ppo")
    return {
        "sft_losses": sft.tables["losses"]["train_loss"].tolist(),
        "ppo_rewards": played.tables["metrics"]["reward_mean"].tolist(),
        "ppo_kl": played.tables["metrics"]["kl_to_start"].tolist(),
    }


def generation(bench: Bench) -> dict[str, Any]:
    """Replies by the library against transformers' `generate`: one by one, and in a batch."""
    tokenizer = make_tokenizer(bench.task.words)
    problems = bench.task.read(bench.problems("practice"))[: bench.size.problems]
    prompts = prompt_tokens(tokenizer, [[bench.task.first_turn(one)] for one in problems])
    stops, pad, tokens = [tokenizer.eos_token_id], tokenizer.pad_token_id, GAME.max_reply_tokens
    found: dict[str, Any] = {}
    folders = {"tiny": bench.base()[0], "smollm2-135m": random_model(bench, bench.size.middle)}
    for name, folder in folders.items():
        dtype = torch.float32 if name == "tiny" else torch.bfloat16
        model = loading.load_model(folder, dtype=dtype).to(bench.device)  # type: ignore[arg-type]
        ways: dict[str, Callable[[], Any]] = {
            "one_by_one": partial(
                transformers_generate, model, prompts[: len(prompts) // 8], 1, tokens, stops, pad
            ),
            "transformers_batched": partial(
                transformers_generate, model, prompts, 512, tokens, stops, pad
            ),
            "library": partial(
                generate,
                model,
                prompts,
                max_new_tokens=tokens,
                stop_ids=stops,
                pad_id=pad,
                batch_size=512,
            ),
        }
        seconds = {way: bench.median(run, repeats=3) for way, run in ways.items()}
        seconds["one_by_one"] *= len(prompts) / (len(prompts) // 8)  # an eighth was measured
        found[name] = {"prompts": len(prompts), "seconds": seconds}
        found[name]["milliseconds_a_step"] = 1000 * seconds["library"] / tokens
    return found


def random_model(bench: Bench, shape: dict[str, Any]) -> Path:
    """A folder with a Llama of random weights in bfloat16, and the game's tokenizer."""
    folder = bench.work / "random"
    if not folder.exists():
        model = build(LlamaConfig(**shape), bench.device)
        loading.save_checkpoint(model, make_tokenizer(bench.task.words), folder, torch.bfloat16)
    return folder


def build(config: PretrainedConfig, device: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model of random weights, made on the device, the same each time."""
    torch.manual_seed(SEED)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def smollm2(bench: Bench) -> dict[str, Any]:
    """Every stage of a model of SmolLM2-135M's shape, random weights, kept in bfloat16."""
    folder, found = random_model(bench, bench.size.middle), dict[str, Any]()
    stages: dict[str, tuple[dict[str, Any], int]] = {
        "sft": ({"steps": 8, "warmup_steps": 2, "micro_batch_size": 64}, 8),
        "ppo": ({}, 2),
        "grpo": ({}, 2),
    }
    last = folder
    for method, (settings, steps) in stages.items():
        trained, cost = bench.timed(
            partial(
                bench.train,
                method,
                folder,
                settings,
                [steps],
                f"smollm2-{method}",
                torch.bfloat16,
            )
        )
        found[method] = cost | {"seconds_a_step": cost["seconds"] / steps}
        last = trained.checkpoints[steps] if method == "sft" else last
    _, found["evaluate"] = bench.timed(lambda: bench.play(folder, bench.device, torch.bfloat16))
    for name, model in (("before", folder), ("after", last)):
        _, found["decompose"] = bench.timed(
            partial(
                decompose_checkpoint,
                model,
                bench.work / f"middle-{name}.safetensors",
                device=bench.device,
            )
        )
    before, after = (
        Decomposed.open(model, bench.work / f"middle-{name}.safetensors")
        for name, model in (("before", folder), ("after", last))
    )
    _, found["drift"] = bench.timed(
        lambda: drift_tables(
            before,
            after,
            shares=(0.2,),
            windows=10,
            nulls=("isotropic",),
            draws=2,
            seed=SEED,
            device=bench.device,
        )
    )
    return found


def by_gram(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vh of a tall matrix by `eigh` of its Gram matrix in float64, and one product."""
    work = matrix.double()
    squares, V = torch.linalg.eigh(work.T @ work)
    S, V = squares.flip(0).clamp(min=0).sqrt(), V.flip(1)
    return work @ (V / S), S, V.T


def decompositions(bench: Bench) -> dict[str, Any]:
    """SVD of matrices of 7B models: as the library does it, by cuSOLVER or LAPACK, by Gram."""
    found: dict[str, Any] = {}
    for rows, columns in bench.size.shapes:
        torch.manual_seed(SEED)
        # Random, with the falling spectrum of a trained matrix: 1 / sqrt(rank).
        tall = torch.randn(columns, rows, device=bench.device)
        tall *= torch.arange(1, rows + 1, device=bench.device) ** -0.5
        ways: dict[str, Callable[[], Any]] = {
            "gram_float64": partial(by_gram, tall),
            "library": partial(decompose, tall, bench.device),
            "svd_float32": partial(torch.linalg.svd, tall, full_matrices=False),
        }
        for way, run in ways.items():
            (U, S, Vh), cost = bench.timed(run)
            (U, S, Vh) = (part.to(bench.device).double() for part in (U, S, Vh))
            unit = torch.eye(rows, device=bench.device, dtype=torch.float64)
            found[f"{rows}x{columns} {way}"] = cost | {
                "tflops": svd_flops((rows, columns)) / cost["seconds"] / 1e12,
                "residual": float(((U * S) @ Vh - tall).norm() / tall.norm()),
                "u_off_orthonormal": float((U.T @ U - unit).abs().max()),
                "v_off_orthonormal": float((Vh @ Vh.T - unit).abs().max()),
            }
            del U, S, Vh, unit
    return found


def large(bench: Bench) -> dict[str, Any]:
    """A step of SFT and an update of PPO of the published 7B shape, random weights.

    If the card cannot hold all layers, of half of them, and so on; `layers` says how many.
    """
    found: dict[str, Any] = {}
    for name, train in (("sft", _large_sft), ("ppo", _large_ppo)):
        layers = bench.size.large["num_hidden_layers"]
        while True:
            config = Qwen2Config(**bench.size.large | {"num_hidden_layers": layers})
            try:
                measured: dict[str, Any] = _elsewhere(train, bench, config)
                found[name] = measured | {"layers": layers}
            except torch.OutOfMemoryError as error:
                found[f"{name}, {layers} layers"] = {"out of memory": str(error).split(". ")[0]}
                layers //= 2
                if layers:
                    continue
            break
    return found


def _active(config: PretrainedConfig) -> int:
    """Parameters that multiply each token, on PyTorch's meta device."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    embedding: int = model.get_input_embeddings().weight.numel()
    return sum(p.numel() for p in model.parameters()) - embedding


def _large_sft(bench: Bench, config: PretrainedConfig) -> dict[str, Any]:
    steps, batch = 3, 8
    words = list(bench.task.words)
    prompt = " ".join(words[i % len(words)] for i in range(bench.size.length))
    reply = " ".join(words[: bench.size.length // 4])
    settings = SFTSettings(
        steps=steps,
        batch_size=batch,
        micro_batch_size=batch // 2,
        warmup_steps=1,
        gradient_checkpointing=True,
        max_length=2 * bench.size.length,
    )
    times = [time.perf_counter()]

    def progress(taken: Any, *_: object) -> Iterator[int]:
        for step in taken:
            yield step
            if bench.device != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    model = build(config, bench.device)
    _, cost = bench.timed(
        lambda: train_sft(
            model,
            make_tokenizer(words),
            [(prompt, reply)] * batch,
            settings,
            keep=[steps + 1],  # never reached: nothing of it is saved
            processes=1,
            seed=SEED,
            work=bench.work / "large-sft",
            progress=progress,
        )
    )
    seconds = min(np.diff(times))  # the first step warms up, and includes the trainer's start
    tokens = batch * (len(prompt.split()) + len(reply.split()))
    return cost | {
        "seconds_a_step": seconds,
        "tokens": tokens,
        "tflops": training_flops(_active(config), tokens, True) / seconds / 1e12,
    }


def _large_ppo(bench: Bench, config: PretrainedConfig) -> dict[str, Any]:
    episodes, tokens = 16, bench.size.new_tokens
    settings = PPOSettings(
        updates=2,
        episodes=episodes,
        minibatch_size=episodes,
        micro_batch_size=episodes // 4,
        epochs=1,
        gradient_checkpointing=True,
    )
    with (
        mock.patch.multiple(
            loading,
            load_model=lambda folder, dtype=torch.float32: build(config, bench.device, dtype),
            load_tokenizer=lambda folder: make_tokenizer(bench.task.words),
            save_checkpoint=lambda *arguments: None,
        ),
        mock.patch.object(ppo, "SNAPSHOT_INTERVAL_S", float("inf")),
    ):
        trained, cost = bench.timed(
            lambda: ppo.train_ppo(
                Path("random"),
                bench.task,
                bench.problems("practice"),
                settings,
                keep=[2],
                seed=SEED,
                max_new_tokens=tokens,
                accelerator=ppo.make_accelerator(torch.bfloat16),
                work=bench.work / "large-ppo",
                key="large",
                progress=lambda steps, *_: steps,
            )
        )
    second = trained.timing.iloc[-1]
    return cost | {
        "seconds_an_update": float(second["seconds"]),
        "sampled_tokens_per_second": float(second["tokens_per_second"]),
        "episodes": episodes,
        "new_tokens": tokens,
    }


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    part.__name__: part
    for part in (machine, tiny, agreement, generation, decompositions, smollm2, large)
}


@contextmanager
def working(where: Path | None) -> Iterator[Path]:
    """A folder for models, which goes away unless it was named."""
    if where is not None:
        where.mkdir(parents=True, exist_ok=True)
        yield where
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Run the parts, and write the file after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--work", type=Path, help="folder for models that stays")
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "device": arguments.device,
        "size": arguments.size,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cores": os.cpu_count(),
    }
    failed = False
    with working(arguments.work) as work:
        bench = Bench(arguments.device, SIZES[arguments.size], work)
        for name in arguments.parts:
            began = time.perf_counter()
            try:
                found[name] = _elsewhere(PARTS[name], bench)
            except Exception as error:
                traceback.print_exc()
                found[name], failed = {"failed": repr(error)}, True
            found[name]["part_seconds"] = time.perf_counter() - began
            arguments.out.write_text(json.dumps(found, indent=1, default=float) + "\n")
            print(f"{name}: {json.dumps(found[name], default=float)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
