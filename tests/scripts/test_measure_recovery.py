import numpy as np
import pandas as pd
import pytest

from scripts.measure_recovery import measure_effects, recovery_table, solved_table, split

SOLVED = {"sft-8": 30, "sft-16": 10, "values-top1": 10, "directions-top1": 25}  # of 40 problems


def episodes(seed, name, **labels):
    problems = np.arange(40)
    return pd.DataFrame(
        {
            "seed": seed,
            "checkpoint": name,
            "split": "ood_test",
            "role": "test",
            "shift": "ood",
            "problem": [f"problem-{i}" for i in problems],
            "group": (problems % 20).astype(str),
            "subsets": "seen",
            "try_number": 1,
            "solved": problems < SOLVED[name],
            "fault": "none",
            "translated": True,
            **labels,
        }
    )


def study(seeds):
    repair = {"repair": "last-with-anchor", "target": "sft-16", "anchor": "sft-8"}
    variants, checkpoints = [], []
    for seed in range(seeds):
        for name in ("values-top1", "directions-top1"):
            kind = name.partition("-")[0]
            played = episodes(seed, name, intervention=name, kind=kind, **repair)
            variants.append(played.drop(columns="checkpoint"))
        for name in ("sft-8", "sft-16"):
            again = episodes(seed, name).assign(try_number=2, solved=True)  # only first tries count
            checkpoints += [episodes(seed, name), again]
    return pd.concat(variants), pd.concat(checkpoints)


def test_effects_are_paired_with_the_target():
    effects = measure_effects(*study(1)).set_index("intervention")
    assert list(effects["difference"]) == [0, 15 / 40]
    assert list(effects["kind"]) == ["values", "directions"]
    assert list(effects["recovered"]) == pytest.approx([0, 0.75], abs=1e-12)
    row = effects.loc["directions-top1"]
    assert 0 < row["low"] < 15 / 40 < row["high"]
    assert row["recovered_low"] < 0.75 < row["recovered_high"]
    assert row["p"] < 0.05  # the interval of the difference lies above 0
    assert (row["p_at_10"] < 0.05) == (row["recovered_low"] > 0.1)
    assert row["p_at_70"] > 0.05
    assert (row["role"], row["shift"], row["groups"]) == ("test", "ood", 20)
    assert (row["target"], row["anchor"], row["seed"]) == ("sft-16", "sft-8", 0)


def test_several_seeds_are_also_taken_together():
    effects = measure_effects(*study(3))
    assert len(effects) == 2 * 4
    together = effects[effects["seed"].isna()].set_index("intervention")
    assert together.loc["directions-top1", "difference"] == 15 / 40
    assert together.loc["directions-top1", "recovered"] == pytest.approx(0.75)
    assert together.loc["directions-top1", ["n", "groups"]].tolist() == [120, 60]
    assert together.loc["directions-top1", "p_at_70"] > 0.05
    assert together.loc["values-top1", "p_at_70"] < 0.05


def test_what_each_variant_solved_stands_beside_its_target_and_anchor():
    variants, checkpoints = study(2)
    elsewhere = checkpoints.assign(split="id_selection", role="selection", shift="id")
    table = solved_table(variants, pd.concat([checkpoints, elsewhere]))
    assert set(table["split"]) == {"ood_test"}  # where no variant was evaluated
    counts = table.groupby(["seed", "intervention"])["solved"].agg(["sum", "size"])
    assert counts["size"].unique().tolist() == [40]  # first tries alone
    for seed in (0, 1):
        found = counts.loc[seed, "sum"].to_dict()
        assert found == {"target": 10, "anchor": 30, "values-top1": 10, "directions-top1": 25}
    assert table["kind"].isna().equals(table["intervention"].isin(["target", "anchor"]))
    assert set(table["repair"]) == {"last-with-anchor"}


def test_accuracies_of_target_and_anchor_stand_beside_the_variants():
    row = {"split": "ood_test", "role": "test", "shift": "ood"}
    row |= {"subset": "all", "measure": "solved_first_try"}
    repair = {"seed": 0, "repair": "last-with-anchor", "target": "sft-16", "anchor": "sft-8"}
    variants = pd.DataFrame(
        [{**repair, **row, "intervention": "v", "kind": "values", "value": 0.5}]
    )
    checkpoints = pd.DataFrame(
        [
            {"seed": 0, "checkpoint": name, "stage": "sft", **row, "value": value, **other}
            for name, value in (("sft-4", 0.1), ("sft-8", 0.8), ("sft-16", 0.2))
            for other in (
                {},
                {"split": "id_selection", "role": "selection", "shift": "id"},
                {"measure": "solved_within_tries"},
            )
        ]
    )
    both = pd.concat([variants, checkpoints.assign(step=8, start="base")])
    table = recovery_table(*split(both))
    assert list(table["intervention"]) == ["v", "target", "anchor"]
    assert list(table["value"]) == [0.5, 0.2, 0.8]
    assert list(table["kind"].isna()) == [False, True, True]
    assert set(table["split"]) == {"ood_test"}
    assert set(table["shift"]) == {"ood"}
    assert list(table.columns) == list(variants.columns)
