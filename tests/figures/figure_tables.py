"""Synthetic tables of a plausible study: OOD rises and falls, RL repairs some of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from svdrift.evaluation.accuracy import wilson_interval
from svdrift.recovery.grid import expand
from svdrift.recovery.interventions import Intervention
from svdrift.settings.recovery import RecoverySettings
from svdrift.spectra.decomposition import Decomposed, decompose_checkpoint
from svdrift.spectra.drift import (
    drift_rows,
    matrix_rows,
    spectrum_rows,
    update_rows,
    value_change_rows,
)
from svdrift.spectra.patterns import DEFAULT_PATTERNS

STEPS = (0, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
STARTS = STEPS[2:]
FAULTS = ("unreadable", "illegal_formula", "wrong_number", "overused", "unused", "wrong_value")
N = 1000
HEAD_NAME = "lm_head.weight"


def level(split: str, step: int, seed: int) -> float:
    """Expected accuracy of an SFT checkpoint."""
    x = np.log2(step + 1)
    wobble = 0.02 * np.sin(3 * seed + x)
    if split == "demonstrated":
        return float(np.clip(1 / (1 + np.exp(2.5 - x)) + wobble / 4, 0, 1))
    top = 0.8 if split == "id_test" else 0.5
    rise = 1 / (1 + np.exp(2 * (3 - x)))
    fall = 1 / (1 + np.exp(0.9 * (x - (9 if split == "id_test" else 7.5))))
    return float(np.clip(top * rise * (0.15 + 0.85 * fall) + wobble, 0.001, 0.999))


def accuracy_table(seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []

    def add(seed: int, run: str, step: int, update: float, split: str, share: float) -> None:
        base = {"seed": seed, "run": run, "sft_step": step, "update": update, "split": split}
        for subset, n, factor in (("all", N, 1.0), ("seen", 800, 1.1), ("heldout", 200, 0.4)):
            solved = rng.binomial(n // 4, min(share * factor, 1)) * 4
            row = {"subset": subset, "n": n, "clusters": n // 4}
            rows.append(base | row | {"measure": "solved_first_try", "count": solved})
        formal = np.exp(-step / 6)
        weights = np.array([0.7 * formal, 0.3 * formal, 0.15, 0.05, 0.05, 0.7])
        for kind, weight in zip(FAULTS, weights / weights.sum(), strict=True):
            row = {"subset": "all", "n": N, "clusters": N // 4, "measure": f"fault:{kind}"}
            rows.append(base | row | {"count": round(N * (1 - share) * weight)})

    for seed in range(seeds):
        for split in ("id_test", "ood_test", "demonstrated"):
            for step in STEPS:
                share = level(split, step, seed)
                add(seed, "sft", step, np.nan, split, share)
                if step not in STARTS:
                    continue
                for update in (40, 80, np.nan):
                    gain = (120 if np.isnan(update) else update) / 800
                    add(seed, "ppo", step, update, split, min(share + gain, 0.97))
                add(seed, "continued", step, np.nan, split, max(share - 0.03, 0.01))
                add(seed, "wide", step, np.nan, split, min(share + 0.2, 0.99))
                add(seed, "demonstrated-ppo", step, np.nan, split, share)
    table = pd.DataFrame(rows)
    low, high = wilson_interval(table["count"] / 3, table["n"] / 3)
    table = table.assign(value=table["count"] / table["n"], low=low, high=high)
    return table.drop(columns="count").assign(checkpoint="synthetic")


def difference_table(seeds: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    effect = {"sft": 0.12, "continued": 0.08, "wide": -0.1, "demonstrated-ppo": 0.03}
    parts = [("id_test", "all", N)]
    parts += [("ood_test", s, n) for s, n in (("all", N), ("practised", 700), ("neither", 90))]
    rows = []
    for split, subset, n in parts:
        for start in STARTS:
            for control, mean in effect.items():
                half = 1.3 / n**0.5
                values = mean + rng.normal(0, half / 2, seeds)
                base = {"run": "ppo", "sft_step": start, "control": control}
                base |= {"split": split, "subset": subset}
                for seed, value in enumerate(values):
                    interval = {"difference": value, "low": value - half, "high": value + half}
                    rows.append(base | {"seed": seed, "n": n} | interval)
                if seeds > 1:
                    value = values.mean()
                    interval = {"difference": value, "low": value - half, "high": value + half}
                    rows.append(base | {"seed": np.nan, "n": n * seeds} | interval)
    return pd.DataFrame(rows)


def _loss(split: str, step: int, seed: int) -> float:
    x = np.log2(step + 1)
    rises = {"demonstrated": 0.0, "id_selection": 0.004, "ood_selection": 0.015}
    value = 2.5 * np.exp(-0.6 * x) + 0.01 + rises[split] * (10 + x**2)
    return float(value * (1 + 0.05 * np.sin(seed * 2 + x)))


def sweep_table(seeds: int) -> pd.DataFrame:
    """Three points of a sweep: the larger the learning rate, the better."""
    rates, factors = (3e-5, 1e-4, 3e-4), (0.7, 0.9, 1.0)
    one = accuracy_table(seeds)
    one = one[one["sft_step"].isin([0, 16, 64, 256])]
    numbers = ["value", "low", "high"]
    points = [one.assign(**{n: one[n] * factor for n in numbers}) for factor in factors]
    for rate, point in zip(rates, points, strict=True):
        point.insert(0, "rl.ppo.learning_rate", rate)
    return pd.concat(points, ignore_index=True)


def study_accuracies(seeds: int) -> pd.DataFrame:
    """Two studies that differ in the method of RL."""
    one = accuracy_table(seeds)
    other = one.replace({"run": {"ppo": "grpo"}})
    return pd.concat([one.assign(study="default"), other.assign(study="grpo")], ignore_index=True)


def study_difference_table(seeds: int) -> pd.DataFrame:
    """Differences of two studies to the default one, as `study_differences` gives them."""
    rng = np.random.default_rng(4)
    names = ["base", *(f"sft-{step}" for step in STEPS[1:]), *(f"rl-from-{s}" for s in STARTS[::3])]
    rows: list[dict[str, object]] = []
    for study, effect in (("grpo", 0.04), ("ppo-by-token", -0.05)):
        for name in names:
            for split in ("id_test", "ood_test"):
                mean = effect if name.startswith("rl") else 0.0
                values = mean + rng.normal(0, 0.015, seeds) * (name != "base")
                base = {"study": study, "reference": "default", "checkpoint": name, "split": split}
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
            loss = _loss("demonstrated", step, seed)
            rows.append({"seed": seed, "step": step, "train_loss": loss})
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
            rows.append(pd.DataFrame(columns).assign(sft_step=start, seed=seed))
    return pd.concat(rows, ignore_index=True)


def objective_table(seeds: int) -> pd.DataFrame:
    rows: list[dict[str, object]] = []

    def add(seed: int, run: str, step: int, update: float, loss: float, reward: float) -> None:
        base = {"seed": seed, "run": run, "sft_step": step, "update": update}
        base |= {"split": "demonstrated", "n": 500}
        rows.append(base | {"measure": "sft_loss", "value": loss})
        rows.append(base | {"measure": "reward", "value": reward})

    for seed in range(seeds):
        for step in STEPS:
            add(seed, "sft", step, np.nan, 2 / (step + 1), 5 * level("id_test", step, seed) - 1.5)
            for split in ("id_selection", "ood_selection"):
                base = {"seed": seed, "run": "sft", "sft_step": step, "update": np.nan, "n": 500}
                loss = {"measure": "sft_loss", "value": _loss(split, step, seed)}
                rows.append(base | loss | {"split": split})
        for i, start in enumerate(STARTS):
            for update in (40, 80, np.nan):
                loss = 0.4 / (i + 1) + 0.002 * np.nan_to_num(update, nan=120) * (1 + seed / 5)
                add(seed, "ppo", start, update, loss, 1.0)
    return pd.DataFrame(rows)


def recovery_table(seeds: int) -> pd.DataFrame:
    """The default repairs: leading directions bring OOD back, interpolation does it as well."""
    rng = np.random.default_rng(3)
    splits = {"demonstrated": 500, "id_test": N, "ood_test": N}
    repairs = {  # accuracies of target and anchor on the splits
        "last-with-anchor": ("sft-1024", "sft-16", (0.99, 0.35, 0.11), (0.94, 0.65, 0.39)),
        "ppo-from-256-with-sft-256": ("ppo-from-256", "sft-256", (1, 0.65, 0.3), (1, 0.28, 0.24)),
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
                for (split, n), low, high in zip(splits.items(), before, after, strict=True):
                    loss = 0.25 if split == "demonstrated" else 1.0
                    chance = np.clip(low + (high - low) * share**loss + 0.01 * seed, 0, 1)
                    base = {**names, "split": split, "subset": "all", "n": n}
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
    place = ["repair", "seed", "split"]
    ends = {
        name: table[table["intervention"] == name].set_index(place)["value"]
        for name in ("target", "anchor")
    }
    rows = table[~table["intervention"].isin(list(ends))].set_index(place)
    gain = rows["value"] - ends["target"].reindex(rows.index)
    loss = (ends["anchor"] - ends["target"]).reindex(rows.index)
    clear = loss > 0.05
    rows = rows.assign(difference=gain, recovered=(gain / loss).where(clear)).reset_index()
    rows = rows[[*place, "intervention", "n", "difference", "recovered"]]
    if seeds > 1:
        by = ["repair", "split", "intervention"]
        means = rows.groupby(by, sort=False)[["difference", "recovered"]].mean()
        pooled = means.assign(seed=np.nan, n=rows.groupby(by)["n"].sum()).reset_index()
        rows = pd.concat([rows, pooled], ignore_index=True)
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
    for name in ("base", "sft-4", "sft-8", "ppo-from-4"):
        place = folder / name
        place.mkdir()
        (place / "config.json").write_text('{"tie_word_embeddings": false}')
        save_file(weights, place / "model.safetensors")
        decompose_checkpoint(place, place / "factors", patterns=patterns)
        opened[name] = Decomposed.open(place, place / "factors")
        for key in sorted(set(weights) - {"model.embed_tokens.weight"}):
            noise = torch.randn(weights[key].shape, generator=rng)
            weights[key] = weights[key] + 0.02 * noise
    names = ("drift", "value_changes", "spectrum", "matrices")
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in names}
    sizes = {"shares": (0.2, 0.5), "draws": 2, "seed": seed}
    pairs = {"base-to-sft-4": ("base", "sft-4"), "base-to-sft-8": ("base", "sft-8")}
    for pair, (before, after) in {**pairs, "anchor-to-last": ("sft-4", "sft-8")}.items():
        one, two = opened[before], opened[after]
        labels = {"pair": pair, "before": before, "after": after}
        drift = drift_rows(one, two, windows=4, **sizes)
        tables["drift"].append(drift.assign(**labels))
        tables["value_changes"].append(value_change_rows(one.factors, two.factors).assign(**labels))
    tables["updates"] = [
        update_rows(opened["base"], opened[start], opened["ppo-from-4"], **sizes).assign(
            sft_step=int(start[-1]), result="ppo-from-4"
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
