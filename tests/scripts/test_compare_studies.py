import sys

import numpy as np
import pandas as pd
import pytest

from scripts import compare_studies
from svdrift.errors import UserError
from svdrift.evaluation.accuracy import accuracy_table
from svdrift.tables import join_tables
from tests.evaluation.episode_tables import tries

SPLITS = ("id_test", "ood_test")


def finished(folder, chances, seeds=(0, 1), face=10):
    """A study's results of 40 hands a split; `chances`: checkpoint -> share that it solves."""
    for seed in seeds:
        place = folder / f"seed-{seed}"
        (place / "hands").mkdir(parents=True)
        for split in SPLITS:
            hands = pd.DataFrame({"hand_id": [f"{split}-{i}" for i in range(40)]})
            hands = hands.assign(cards="J 2 3 4", numbers=f"{face} 2 3 4", target=24)
            hands.to_parquet(place / "hands" / f"{split}.parquet")
        for checkpoint, chance in chances.items():
            rng = np.random.default_rng(seed)
            multisets = np.arange(40) // 2
            played = [tries(rng.random(40) < chance, multisets, checkpoint, s) for s in SPLITS]
            own = place / "evaluation" / checkpoint
            own.mkdir(parents=True)
            episodes = pd.concat(played, ignore_index=True)
            episodes.to_parquet(own / "episodes.parquet")
            accuracy_table(episodes).to_parquet(own / "accuracy.parquet")
    (folder / "tables").mkdir()
    tables = join_tables(sorted(folder.glob("seed-*/evaluation/*/accuracy.parquet")))
    tables.to_parquet(folder / "tables/accuracy.parquet")


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chances = {"base": 0.1, "sft-4": 0.4, "sft-8": 0.5, "ppo-from-4": 0.6}
    finished(tmp_path / "results/one", chances)
    finished(
        tmp_path / "results/two", {"base": 0.1, "sft-4": 0.3, "grpo-from-4": 0.9}, seeds=(0, 1, 2)
    )
    return tmp_path / "results"


def compare(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare_studies.py", *arguments])
    compare_studies.main()


def test_a_page_with_figures_and_paired_differences(results, monkeypatch):
    compare(monkeypatch, "one", "two")
    page = results / "compare/one-two"
    table = pd.read_csv(page / "difference.csv")
    assert set(table["checkpoint"]) == {"base", "sft-4", "rl-from-4"}
    assert set(table["seed"].dropna()) == {0, 1}  # those of both
    assert table["paired"].all()
    mean = table[table["seed"].isna()].set_index(["checkpoint", "split"])
    assert mean.loc[("base", "id_test"), "difference"] == 0
    assert mean.loc[("rl-from-4", "ood_test"), "difference"] > 0.1  # two minus one
    row = mean.loc[("rl-from-4", "id_test")]
    numbers = [100 * row[name] for name in ("value_b", "value_a", "difference", "low", "high")]
    text = "{:.1f} % | {:.1f} % | {:+.1f} [{:.1f}, {:.1f}] | paired |".format(*numbers)
    assert f"| rl-from-4 | ID test | 80 | {text}\n" in (page / "README.md").read_text()
    for name in ("accuracy", "difference"):
        assert (page / f"{name}.png").stat().st_size > 10_000
        assert (page / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_other_hands_are_compared_unpaired_and_said_to_be(results, monkeypatch):
    finished(results / "other", {"base": 0.1, "sft-4": 0.4}, face=11)
    compare(monkeypatch, "one", "other", "--out", "page")
    table = pd.read_csv("page/difference.csv")
    assert not table["paired"].any()
    own = table[(table["checkpoint"] == "base") & (table["split"] == "id_test")]
    assert (own["high"] > own["low"]).all()  # the same outcomes, but not of the same hands
    with open("page/README.md") as file:
        assert "| not paired: other hands |" in file.read()


@pytest.mark.parametrize(
    ("studies", "message"),
    [
        (["one"], "studies: give 2 to 4 different ones, not one"),
        (["one", "one"], "studies: give 2 to 4 different ones"),
        (["one", "three"], "three: no such study in results/ (finished: one, two)"),
    ],
)
def test_a_study_that_is_not_there(results, monkeypatch, studies, message):
    with pytest.raises(UserError) as caught:
        compare(monkeypatch, *studies)
    assert message in str(caught.value)


def test_an_unfinished_study_names_what_is_missing_and_the_command(results, monkeypatch):
    experiments = results.parent / "experiments/ablations"
    experiments.mkdir(parents=True)
    (experiments / "two.yaml").touch()
    missing = results / "two/seed-1/evaluation/sft-4/episodes.parquet"
    missing.unlink()
    command = "snakemake --cores all --configfile experiments/ablations/two.yaml"
    with pytest.raises(UserError) as caught:
        compare(monkeypatch, "one", "two")
    said = str(caught.value)
    assert said == (
        "two is not finished: results/two/seed-1/evaluation/sft-4/episodes.parquet is missing; "
        f"run: {command}"
    )
    (results / "two/tables/accuracy.parquet").unlink()
    with pytest.raises(UserError, match=r"two/tables/accuracy\.parquet is missing"):
        compare(monkeypatch, "one", "two")


def test_commands_name_what_runs_a_study():
    assert compare_studies.command("default") == "snakemake --cores all"
    assert compare_studies.command("ppo-learning-rate/rl.ppo.learning_rate=3e-05") == (
        "snakemake --snakefile workflow/sweep.smk --cores all "
        "--configfile experiments/sweeps/ppo-learning-rate.yaml"
    )


def test_studies_without_a_common_seed_are_refused(results, monkeypatch):
    finished(results / "late", {"base": 0.1}, seeds=(7,))
    with pytest.raises(UserError, match="late and one have no seed in common"):
        compare(monkeypatch, "one", "late")
