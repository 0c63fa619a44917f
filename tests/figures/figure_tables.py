"""Synthetic tables of a plausible study: OOD rises and falls, RL repairs some of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from safetensors.torch import save_file
from scipy import stats

from svdrift.checkpoints import Checkpoint, labels
from svdrift.evaluation.accuracy import wilson_interval
from svdrift.ranks.score import UNITS
from svdrift.recovery.grid import expand
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.settings import RecoverySettings
from svdrift.spectra.decomposition import Decomposed, decompose_checkpoint
from svdrift.spectra.drift import drift_tables, value_change_rows
from svdrift.spectra.patterns import DEFAULT_PATTERNS
from svdrift.spectra.tables import matrix_rows, spectrum_rows
from svdrift.spectra.updates import update_rows
from svdrift.story import Role, Story

STEPS = (0, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
STARTS = STEPS[2:]
FAULTS = ("unreadable", "illegal_formula", "wrong_number", "overused", "unused", "wrong_value")
N = 1000
FIT, ID, OOD = ("fit", "id"), ("test", "id"), ("test", "ood")
SPLITS = {FIT: "demonstrated", ID: "id_test", OOD: "ood_test", ("test", "odd"): "ood_test_odd"}


def p_of(value: ArrayLike, half: float) -> np.ndarray:
    """Two-sided p of 0, from the half-width of a 95 % interval; as of a normal distribution."""
    return 2 * stats.norm.sf(np.abs(value) / half * stats.norm.isf(0.025))


def sft(step: int) -> str:
    return "base" if step == 0 else f"sft-{step}"


def end(stage: str, step: int, last: int = 120) -> str:
    return f"{sft(step)}.{stage}-{last}"


def kept(stage: str, step: int) -> tuple[str, ...]:
    """RL keeps three checkpoints from two starts, and only its end from the others."""
    many = stage == "ppo" and step in (64, 512)
    return tuple(end(stage, step, update) for update in ((40, 80, 120) if many else (120,)))


def role(stage: str, label: str, unit: str, starts: Sequence[int]) -> Role:
    return Role(
        stage=stage,
        label=label,
        unit=unit,
        results={sft(step): end(stage, step) for step in starts},
        kept={sft(step): kept(stage, step) for step in starts},
    )


LABELS = {"base": "base", "sft": "SFT", "ppo": "PPO", "continued": "more SFT", "wide": "wide SFT"}
STORY = Story(
    path=tuple(map(sft, STEPS)),
    path_label="SFT",
    rl=role("ppo", "PPO", "update", STARTS),
    controls=(
        role("continued", "more SFT", "step", STARTS),
        role("wide", "wide SFT", "step", [512]),
    ),
    moderate="sft-512",
    labels=LABELS,
)
GRPO_STORY = STORY.model_copy(
    update={"rl": STORY.rl.model_copy(update={"label": "GRPO"}) if STORY.rl else None}
)
SPECTRAL_STORY = Story(
    path=("base", "sft-4", "sft-8"),
    path_label="SFT",
    rl=Role(
        stage="ppo",
        label="PPO",
        unit="update",
        results={"sft-4": "sft-4.ppo-6", "sft-8": "sft-8.ppo-6"},
        kept={"sft-4": ("sft-4.ppo-6",), "sft-8": ("sft-8.ppo-6",)},
    ),
    moderate="sft-4",
    labels={"base": "base", "sft": "SFT", "ppo": "PPO"},
)
HEAD_NAME = "lm_head.weight"
NULLS = ("isotropic", "inputs_kept", "signs_randomised")


def level(place: tuple[str, str], step: int, seed: int) -> float:
    """Expected accuracy of an SFT checkpoint."""
    x = np.log2(step + 1)
    wobble = 0.02 * np.sin(3 * seed + x)
    if place == FIT:
        return float(np.clip(1 / (1 + np.exp(2.5 - x)) + wobble / 4, 0, 1))
    top = {"id": 0.8, "ood": 0.5, "odd": 0.3}[place[1]]
    rise = 1 / (1 + np.exp(2 * (3 - x)))
    fall = 1 / (1 + np.exp(0.9 * (x - (9 if place == ID else 7.5))))
    return float(np.clip(top * rise * (0.15 + 0.85 * fall) + wobble, 0.001, 0.999))


def accuracy_table(seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []

    def add(seed: int, checkpoint: str, place: tuple[str, str], share: float) -> None:
        base = {"seed": seed, **labels(checkpoint), "split": SPLITS[place]}
        base |= {"role": place[0], "shift": place[1]}
        step = (Checkpoint.parse(checkpoint).way or (("", 0),))[0][1]
        for subset, n, factor in (("all", N, 1.0), ("seen", 800, 1.1), ("heldout", 200, 0.4)):
            solved = rng.binomial(n // 4, min(share * factor, 1)) * 4
            row = {"subset": subset, "n": n, "groups": n // 4}
            rows.append(base | row | {"measure": "solved_first_try", "count": solved})
        formal = np.exp(-step / 6)
        weights = np.array([0.7 * formal, 0.3 * formal, 0.15, 0.05, 0.05, 0.7])
        for kind, weight in zip(FAULTS, weights / weights.sum(), strict=True):
            row = {"subset": "all", "n": N, "groups": N // 4, "measure": f"fault:{kind}"}
            rows.append(base | row | {"count": round(N * (1 - share) * weight)})

    for seed in range(seeds):
        for place in SPLITS:
            for step in STEPS:
                share = level(place, step, seed)
                add(seed, sft(step), place, share)
                if step not in STARTS:
                    continue
                for checkpoint in kept("ppo", step):
                    gain = Checkpoint.parse(checkpoint).step / 800
                    add(seed, checkpoint, place, min(share + gain, 0.97))
                add(seed, end("continued", step), place, max(share - 0.03, 0.01))
                if step == 512:
                    add(seed, end("wide", step), place, min(share + 0.2, 0.99))
    table = pd.DataFrame(rows)
    low, high = wilson_interval(table["count"] / 3, table["n"] / 3)
    table = table.assign(value=table["count"] / table["n"], low=low, high=high)
    return table.drop(columns="count")


def samples_table(seeds: int) -> pd.DataFrame:
    """Of the probe `samples`: confident replies, of which fewer are right on OOD."""
    rng = np.random.default_rng(1)
    ids = [sft(step) for step in STEPS] + [end(stage, 64) for stage in ("ppo", "continued")]
    tables = [
        pd.DataFrame(
            {
                "seed": seed,
                "checkpoint": id,
                "role": role,
                "shift": shift,
                "group": np.repeat(np.arange(25), 4),
                "confidence": (sure := rng.beta(4, 1, 100)),
                "agreement": rng.integers(0, 17, 100) / 16,
                "greedy_solved": rng.random(100) < sure * (1 if shift == "id" else 0.6),
            }
        )
        for seed in range(seeds)
        for id in ids
        for role, shift in SPLITS
    ]
    return pd.concat(tables, ignore_index=True)


ARMS = {
    "last": sft(STEPS[-1]),
    "slow": "slow-64",
    "stopped": "stopped-16",
    "averaged": "averaged-64",
    "replay": "replay-64",
    "held": "held-64",
    "rl": end("ppo", 64),
    "control": end("continued", 64),
}
REMEDY_STORY = STORY.model_copy(update={"arms": ARMS})


def remedy_tables(seeds: int) -> dict[str, pd.DataFrame]:
    """Of the probe `scores`, and the problems that repaired models solve."""
    rng = np.random.default_rng(1)
    repaired = {"target": None, "anchor": None, "interpolate-weight0.5": "interpolate"}
    repaired |= {"trim-weight0.5": "trim", "directions-top1": "directions"}

    def table(column: str, names: list[str], solved: str) -> pd.DataFrame:
        tables = [
            pd.DataFrame(
                {
                    "seed": seed,
                    column: name,
                    "role": role,
                    "shift": shift,
                    "group": np.repeat(np.arange(25), 4),
                    "problem": np.arange(100),
                    solved: rng.random(100) < 0.3 + 0.05 * i,
                }
            )
            for seed in range(seeds)
            for i, name in enumerate(names)
            for role in ("selection", "test")
            for shift in ("id", "ood")
        ]
        return pd.concat(tables, ignore_index=True)

    solved = table("intervention", [*repaired], "solved")
    kinds = solved["intervention"].map(repaired)
    return {
        "scores": table("checkpoint", [*ARMS.values()], "valid"),
        "recovery_solved": solved.assign(kind=kinds, repair="last-with-anchor"),
    }


def cycles_table(seeds: int) -> pd.DataFrame:
    """Two roots, and SFT and RL in turn to a depth of four."""
    way = "sft-64.ppo-60.again-32.grpo-60"
    parts = way.split(".")
    names = ["base", "sft-16", *(".".join(parts[: i + 1]) for i in range(4))]
    names += ["sft-64.ppo-20", "sft-64.ppo-40", "other", "other.sft-64"]
    rows = []
    for seed in range(seeds):
        for i, name in enumerate(names):
            for shift, share in (("id", 0.1 + 0.08 * i), ("ood", 0.5 - 0.07 * abs(i - 4))):
                row = {"seed": seed, **labels(name), "role": "test", "shift": shift}
                row |= {"split": f"{shift}_test", "subset": "all", "measure": "solved_first_try"}
                row |= {"n": N, "groups": N // 4, "value": share + 0.01 * seed}
                rows.append(row | {"low": share - 0.05, "high": share + 0.05})
    return pd.DataFrame(rows)


def comparison_table(seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    effect = {"": 0.12, "continued": 0.08, "wide": -0.1}
    parts = [(ID, "all", N), (ID, "practised", 700)]
    parts += [(OOD, s, n) for s, n in (("all", N), ("practised", 700), ("neither", 90))]
    rows = []
    for place, subset, n in parts:
        for start in STARTS:
            for stage, mean in effect.items():
                if stage == "wide" and start != 512:
                    continue
                half = 1.3 / n**0.5
                values = mean + rng.normal(0, half / 2, seeds)
                other = end(stage, start) if stage else sft(start)
                base = {"a": end("ppo", start), "b": other, "start": sft(start)}
                base |= {"stage_a": "ppo", "stage_b": Checkpoint.parse(other).stage}
                base |= {"split": SPLITS[place], "role": place[0], "shift": place[1]}
                base |= {"subset": subset}
                for seed, value in enumerate(values):
                    interval = {"difference": value, "low": value - half, "high": value + half}
                    interval["p"] = p_of(value, half)
                    rows.append(base | {"seed": seed, "n": n, "groups": n // 5} | interval)
                if seeds > 1:
                    value = values.mean()
                    interval = {"difference": value, "low": value - half, "high": value + half}
                    interval["p"] = p_of(value, half)
                    counts = {"n": n * seeds, "groups": n // 5 * seeds}
                    rows.append(base | {"seed": np.nan} | counts | interval)
    return pd.DataFrame(rows)


def _loss(place: tuple[str, str], step: int, seed: int) -> float:
    x = np.log2(step + 1)
    rises = {FIT: 0.0, ("selection", "id"): 0.004, ("selection", "ood"): 0.015}
    value = 2.5 * np.exp(-0.6 * x) + 0.01 + rises[place] * (10 + x**2)
    return float(value * (1 + 0.05 * np.sin(seed * 2 + x)))


def sweep_table(seeds: int) -> pd.DataFrame:
    """Three points of a sweep: the larger the learning rate, the better."""
    rates, factors = (3e-5, 1e-4, 3e-4), (0.7, 0.9, 1.0)
    one = accuracy_table(seeds)
    chosen = [0, 16, 64, 256]
    path = one["checkpoint"].isin([sft(step) for step in chosen])
    one = one[path | one["start"].isin([sft(step) for step in chosen[1:]])]
    numbers = ["value", "low", "high"]
    points = [one.assign(**{n: one[n] * factor for n in numbers}) for factor in factors]
    for rate, point in zip(rates, points, strict=True):
        point.insert(0, "stages.ppo.learning_rate", rate)
    return pd.concat(points, ignore_index=True)


def study_accuracies(seeds: int) -> pd.DataFrame:
    """Two studies that differ in the method of RL."""
    one = accuracy_table(seeds)
    return pd.concat([one.assign(study="default"), one.assign(study="grpo")], ignore_index=True)


def study_difference_table(seeds: int) -> pd.DataFrame:
    """Differences of two studies to the default one, as `study_differences` gives them."""
    rng = np.random.default_rng(4)
    names = [
        "base",
        *(f"sft-{step}" for step in STEPS[1:]),
        *(end("ppo", step) for step in STARTS[::3]),
    ]
    rows: list[dict[str, object]] = []
    for study, effect in (("grpo", 0.04), ("ppo-by-token", -0.05)):
        for name in names:
            for place in (ID, OOD):
                mean = effect if "ppo" in name else 0.0
                values = mean + rng.normal(0, 0.015, seeds) * (name != "base")
                base = {"study": study, "reference": "default", "checkpoint": name}
                base |= {"split": SPLITS[place], "role": place[0], "shift": place[1]}
                found = list(zip(range(seeds), values, [N] * seeds, strict=True))
                found += [(np.nan, values.mean(), N * seeds)] if seeds > 1 else []
                for seed, value, n in found:
                    row = base | {"seed": seed, "n": n, "paired": True, "difference": value}
                    rows.append(row | {"low": value - 0.03, "high": value + 0.03})
    return pd.DataFrame(rows)


def loss_table(seeds: int) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        for step in STEPS:
            loss = _loss(FIT, step, seed)
            base = {"seed": seed, "run": "sft", "stage": "sft", "start": "base"}
            rows.append(base | {"step": step, "train_loss": loss})
            rows.append(base | {"run": "sft-64.continued", "step": step, "train_loss": 9.0})
    return pd.DataFrame(rows)


def advantage_table(seeds: int) -> pd.DataFrame:
    edges = np.linspace(-6, 6, 61)
    rng = np.random.default_rng(2)
    rows = []
    for seed in range(seeds):
        for i, start in enumerate(STARTS):
            bad, good = rng.normal(-2, 0.8, 900 - 80 * i), rng.normal(1 + i / 4, 0.4, 300 + 80 * i)
            counts, _ = np.histogram(np.concatenate([bad, good]), edges)
            columns = {"bin_low": edges[:-1], "bin_high": edges[1:], "count": counts}
            labelled = pd.DataFrame(columns).assign(start=sft(start), seed=seed, stage="ppo")
            rows += [labelled, labelled.assign(stage="ppo2")]
    return pd.concat(rows, ignore_index=True)


def objective_table(seeds: int) -> pd.DataFrame:
    rows: list[dict[str, object]] = []

    def add(seed: int, checkpoint: str, place: tuple[str, str], **measures: float) -> None:
        base = {"seed": seed, **labels(checkpoint), "role": place[0], "shift": place[1], "n": 500}
        rows.extend(base | {"measure": name, "value": value} for name, value in measures.items())

    for seed in range(seeds):
        for step in STEPS:
            reward = 5 * level(ID, step, seed) - 1.5
            add(seed, sft(step), FIT, sft_loss=2 / (step + 1), reward=reward)
            for place in (("selection", "id"), ("selection", "ood")):
                add(seed, sft(step), place, sft_loss=_loss(place, step, seed))
        for i, start in enumerate(STARTS):
            for checkpoint in kept("ppo", start):
                update = Checkpoint.parse(checkpoint).step
                loss = 0.4 / (i + 1) + 0.002 * update * (1 + seed / 5)
                add(seed, checkpoint, FIT, sft_loss=loss, reward=1.0)
    return pd.DataFrame(rows)


def recovery_table(seeds: int) -> pd.DataFrame:
    """The default repairs: leading directions bring OOD back, interpolation does it as well."""
    rng = np.random.default_rng(3)
    splits = {FIT: 500, ID: N, OOD: N}
    repairs = {  # accuracies of target and anchor on the splits
        "last-with-anchor": ("sft-1024", "sft-16", (0.99, 0.35, 0.11), (0.94, 0.65, 0.39)),
        "sft-256.ppo-120-with-sft-256": (
            "sft-256.ppo-120",
            "sft-256",
            (1, 0.65, 0.3),
            (1, 0.28, 0.24),
        ),
        "sft-256-with-anchor": ("sft-256", "sft-16", (1, 0.28, 0.24), (0.94, 0.65, 0.39)),
    }
    rows: list[dict[str, object]] = []
    for seed in range(seeds):
        for repair, (target, anchor, before, after) in repairs.items():
            names = {"repair": repair, "target": target, "anchor": anchor, "seed": seed}
            grid = RecoverySettings()
            main = repair == "last-with-anchor"
            variants = expand(grid.interventions if main else grid.side_interventions)
            places: list[tuple[dict[str, object], float]] = [
                ({"intervention": v.id, **v.columns()}, _regained(v)) for v in variants
            ]
            places += [({"intervention": "target"}, 0.0), ({"intervention": "anchor"}, 1.0)]
            for columns, share in places:
                for (place, n), low, high in zip(splits.items(), before, after, strict=True):
                    loss = 0.25 if place == FIT else 1.0
                    chance = np.clip(low + (high - low) * share**loss + 0.01 * seed, 0, 1)
                    base = {**names, "role": place[0], "shift": place[1], "subset": "all", "n": n}
                    solved = 4 * rng.binomial(n // 4, chance)
                    rows.append({**base, **columns, "count": solved})
    table = pd.DataFrame(rows).assign(measure="solved_first_try")
    low, high = wilson_interval(table["count"] / 3, table["n"] / 3)
    return table.assign(value=table["count"] / table["n"], low=low, high=high)


def _regained(variant: Intervention) -> float:
    """Share of the way from target to anchor."""
    start, stop = variant.layers
    depth = (stop**2 - start**2) * 0.98
    if variant.kind == "interpolate":
        return float(np.sqrt(variant.weight or 0))
    if variant.kind == "reset":
        return depth
    if variant.kind in ("directions", "triplets"):
        return depth * float(1 - np.exp(-9 * variant.top))
    return 0.02


def recovery_effect_table(seeds: int) -> pd.DataFrame:
    """What the scripts measure of `recovery_table`, with made-up intervals."""
    table = recovery_table(seeds)
    place = ["repair", "seed", "role", "shift"]
    ends = {
        name: table[table["intervention"] == name].set_index(place)["value"]
        for name in ("target", "anchor")
    }
    rows = table[~table["intervention"].isin(list(ends))].set_index(place)
    gain = rows["value"] - ends["target"].reindex(rows.index)
    loss = (ends["anchor"] - ends["target"]).reindex(rows.index)
    clear = loss > 0.05
    rows = rows.assign(difference=gain, recovered=(gain / loss).where(clear)).reset_index()
    rows = rows[[*place, "intervention", "kind", "n", "difference", "recovered"]]
    if seeds > 1:
        by = ["repair", "role", "shift", "intervention", "kind"]
        means = rows.groupby(by, sort=False)[["difference", "recovered"]].mean()
        pooled = means.assign(seed=np.nan, n=rows.groupby(by)["n"].sum()).reset_index()
        rows = pd.concat([rows, pooled], ignore_index=True)
    rows["groups"] = rows["n"] // 5
    rows["p"] = p_of(rows["difference"], 0.04)
    rows["p_at_10"] = rows["p_at_70"] = 0.2
    for value, prefix, half in (("difference", "", 0.04), ("recovered", "recovered_", 0.15)):
        rows[f"{prefix}low"], rows[f"{prefix}high"] = rows[value] - half, rows[value] + half
    return rows


@cache
def spectral_tables(seeds: int) -> dict[str, pd.DataFrame]:
    """Tables of drift as the library measures them, between pico checkpoints of each seed.

    The embedding is frozen, the head is not; no matrix looks random.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for seed in range(seeds):
        with TemporaryDirectory() as folder:
            for name, table in _spectral_tables(Path(folder), seed).items():
                tables.setdefault(name, []).append(table.assign(seed=seed))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _spectral_tables(folder: Path, seed: int) -> dict[str, pd.DataFrame]:
    rng = torch.Generator().manual_seed(seed)
    shapes = {"q": (20, 20), "v": (16, 20), "down": (20, 30)}
    names = {"q": "self_attn.q_proj", "v": "self_attn.v_proj", "down": "mlp.down_proj"}
    patterns = {m: DEFAULT_PATTERNS[m] for m in (*shapes, "embedding", "head")}
    weights = {
        f"model.layers.{layer}.{names[module]}.weight": _falling(shape, rng)
        for layer in range(3)
        for module, shape in shapes.items()
    }
    weights |= {name: _falling((26, 20), rng) for name in ("model.embed_tokens.weight", HEAD_NAME)}
    opened = {}
    for name in ("base", "sft-4", "sft-8", "sft-4.ppo-6"):
        place = folder / name
        place.mkdir()
        (place / "config.json").write_text('{"tie_word_embeddings": false}')
        save_file(weights, place / "model.safetensors")
        decompose_checkpoint(place, place / "factors", patterns=patterns)
        opened[name] = Decomposed.open(place, place / "factors")
        for key in sorted(set(weights) - {"model.embed_tokens.weight"}):
            noise = torch.randn(weights[key].shape, generator=rng)
            weights[key] = weights[key] + 0.02 * noise
    names = ("drift", "nulls", "value_changes", "spectrum", "matrices")
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in names}
    sizes = {"shares": (0.2, 0.5), "draws": 2, "seed": seed}
    pairs = {"base-to-sft-4": ("base", "sft-4"), "base-to-sft-8": ("base", "sft-8")}
    for pair, (before, after) in {**pairs, "anchor-to-last": ("sft-4", "sft-8")}.items():
        one, two = opened[before], opened[after]
        labels = {"pair": pair, "before": before, "after": after}
        for name, table in (
            drift_tables(one, two, windows=4, nulls=NULLS, **sizes)._asdict().items()
        ):
            tables[name].append(table.assign(**labels))
        tables["value_changes"].append(value_change_rows(one.factors, two.factors).assign(**labels))
    tables["updates"] = [
        update_rows(opened["base"], opened[start], opened["sft-4.ppo-6"], **sizes).assign(
            result=f"{start}.ppo-6"
        )
        for start in ("sft-4", "sft-8")
    ]
    for name, c in opened.items():
        tables["spectrum"].append(spectrum_rows(c.factors).assign(checkpoint=name))
        tables["matrices"].append(matrix_rows(c).assign(checkpoint=name))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _falling(shape: tuple[int, int], rng: torch.Generator) -> torch.Tensor:
    """A matrix whose singular values fall exponentially, as no random matrix's do."""
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=rng), full_matrices=False)
    return ((left * torch.exp(-torch.arange(min(shape)) / 2.0)) @ right).contiguous()


def rank_search_table(seeds: int) -> pd.DataFrame:
    """Five searches of 30 evaluations each for two choices of ranks."""
    rng = np.random.default_rng(0)
    every = itertools.product(range(seeds), ("repair", "keep"), range(5), range(1, 31))
    table = pd.DataFrame(every, columns=["seed", "choice", "number", "evaluation"])
    return table.assign(
        method="method_" + table["number"].astype(str),
        label="method " + table["number"].astype(str),
        measured=table["choice"].map({"repair": UNITS["accuracy"], "keep": UNITS["likelihood"]}),
        score=rng.random(len(table)) + table["number"] / 10,
        fits=rng.random(len(table)) < 0.8,
    )
