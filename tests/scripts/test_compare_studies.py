import json
import re
import sys

import numpy as np
import pandas as pd
import pytest

from scripts import compare_studies
from svdrift.checkpoints import Checkpoint
from svdrift.errors import UserError
from svdrift.evaluation.accuracy import accuracy_table
from svdrift.evaluation.comparisons import paired_difference_over_seeds
from svdrift.story import Role, Story
from svdrift.study.finished import command
from svdrift.tables import join_tables
from tests.evaluation.episode_tables import tries

SPLITS = ("id_test", "ood_test")


def finished(folder, chances, seeds=(0, 1), face=10):
    """A study's results of 40 problems a split; `chances`: checkpoint -> share that it solves."""
    for seed in seeds:
        place = folder / f"seed-{seed}"
        (place / "problems").mkdir(parents=True)
        for split in SPLITS:
            problems = pd.DataFrame({"problem": [f"{split}-{i}" for i in range(40)]})
            problems = problems.assign(group="1", subsets="seen", question=f"{face} 2 3 4")
            problems.to_parquet(place / "problems" / f"{split}.parquet")
        for checkpoint, chance in chances.items():
            rng = np.random.default_rng(seed)
            groups = np.arange(40) // 2
            played = [tries(rng.random(40) < chance, groups, checkpoint, s) for s in SPLITS]
            own = place / "evaluation" / checkpoint
            own.mkdir(parents=True)
            episodes = pd.concat(played, ignore_index=True)
            episodes.to_parquet(own / "episodes.parquet")
            accuracy_table(episodes).to_parquet(own / "accuracy.parquet")
    (folder / "tables").mkdir()
    tables = join_tables(sorted(folder.glob("seed-*/evaluation/*/accuracy.parquet")))
    tables.to_parquet(folder / "tables/accuracy.parquet")
    story = story_of(chances)
    (folder / "story.json").write_text(story.model_dump_json())
    settings = {"study": folder.name, "seeds": list(seeds), "task": {"face": face}}
    (folder / "configuration.json").write_text(json.dumps(settings))


def story_of(checkpoints):
    """SFT is the path, and what starts from sft-4 is RL."""
    ends = [name for name in checkpoints if name.startswith("sft-4.")]
    stage = {name: Checkpoint.parse(name).stage for name in ends}
    roles = [
        Role(
            stage=stage[name],
            label=stage[name].upper(),
            unit="update",
            results={"sft-4": name},
            kept={"sft-4": (name,)},
        )
        for name in ends
    ]
    return Story(
        path=tuple(name for name in checkpoints if name not in ends),
        path_label="SFT",
        rl=roles[0] if roles else None,
        moderate="sft-4" if roles else None,
        labels={},
    )


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chances = {"base": 0.1, "sft-4": 0.4, "sft-8": 0.5, "sft-4.ppo-6": 0.6}
    finished(tmp_path / "results/one", chances)
    finished(
        tmp_path / "results/two", {"base": 0.1, "sft-4": 0.3, "sft-4.grpo-6": 0.9}, seeds=(0, 1, 2)
    )
    return tmp_path / "results"


def compare(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare_studies.py", *arguments])
    compare_studies.main()


def test_a_page_with_figures_and_paired_differences(results, monkeypatch):
    compare(monkeypatch, "one", "two")
    page = results / "compare/one-two"
    table = pd.read_csv(page / "difference.csv")
    assert set(table["checkpoint"]) == {"base", "sft-4", "RL from sft-4"}
    assert set(table["seed"].dropna()) == {0, 1}  # those of both
    assert table["paired"].all()
    mean = table[table["seed"].isna()].set_index(["checkpoint", "split"])
    assert mean.loc[("base", "id_test"), "difference"] == 0
    assert mean.loc[("RL from sft-4", "ood_test"), "difference"] > 0.1  # two minus one
    row = mean.loc[("RL from sft-4", "id_test")]
    numbers = [100 * row[name] for name in ("value_b", "value_a", "difference", "low", "high")]
    text = "{:.1f} % | {:.1f} % | {:+.1f} [{:.1f}, {:.1f}] | paired |".format(*numbers)
    assert f"| RL from sft-4 | ID test | 80 | 40 | {text}\n" in (page / "README.md").read_text()
    for name in ("accuracy", "difference"):
        assert (page / f"{name}.png").stat().st_size > 10_000
        assert (page / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_claims_stand_side_by_side_where_two_studies_judged_theirs(results, monkeypatch):
    statement = {"claim": "rl", "key": "k", "statement": "RL helps", "side": "above", "bound": 0.0}
    numbers = {
        "low": 1.0,
        "high": 3.0,
        "verdict": "holds",
        "verdict_holm": "undecided",
        "unit": "points",
        "each": "",
        "detail": "",
    }
    numbers |= {"p": 0.01, "holm": 0.01, "groups": 20}
    for study, estimate in (("one", 2.0), ("two", -1.0)):
        compare(monkeypatch, "one", "two")
        assert "## Claims" not in (results / "compare/one-two/README.md").read_text()
        row = pd.DataFrame([statement | numbers | {"estimate": estimate}])
        row.to_csv(results / study / "tables/findings.csv", index=False)
    compare(monkeypatch, "one", "two")
    text = (results / "compare/one-two/README.md").read_text()
    assert "0 of 1 statements that two or more measured keep their sign" in text
    assert "| rl | RL helps | +2.0 points [1.0, 3.0]<br>✔ holds † |" in text
    claims = pd.read_csv(results / "compare/one-two/claims.csv")
    assert claims["estimate two"].tolist() == [-1.0]


def weights(folder, checkpoint, content, seeds=(0, 1)):
    """The weights of a checkpoint."""
    for seed in seeds:
        model = folder / f"seed-{seed}" / "models" / checkpoint
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(content)


def test_what_cannot_differ_is_left_out_and_named(results, monkeypatch):
    for study, content in (("one", b"1"), ("two", b"2")):
        weights(results / study, "base", b"0")  # and solved alike
        weights(results / study, "sft-4", b"3")  # but evaluated otherwise
        end = {"one": "ppo", "two": "grpo"}[study]
        weights(results / study, f"sft-4.{end}-6", content)
    compare(monkeypatch, "one", "two")
    table = pd.read_csv(results / "compare/one-two/difference.csv")
    assert set(table["checkpoint"]) == {"sft-4", "RL from sft-4"}
    text = (results / "compare/one-two/README.md").read_text()
    found = re.search(
        r"^Checkpoints left out because they cannot differ \((.+)\): (.+)\.$", text, re.M
    )
    assert found[2] == "base"
    assert "same weights" in found[1]
    # In one seed the weights are others.
    (results / "two/seed-1/models/base/model.safetensors").write_bytes(b"9")
    compare(monkeypatch, "one", "two")
    assert "left out" not in (results / "compare/one-two/README.md").read_text()


def test_studies_of_the_same_runs_have_nothing_to_show(results, monkeypatch):
    for study in ("three", "four"):
        finished(results / study, {"base": 0.1})
        weights(results / study, "base", b"0")
    compare(monkeypatch, "three", "four")
    page = results / "compare/three-four"
    assert "cannot differ" in (page / "README.md").read_text()
    assert not (page / "difference.csv").exists()


def test_settings_that_differ_are_listed(results, monkeypatch):
    finished(results / "other", {"base": 0.1}, face=11)
    compare(monkeypatch, "one", "other")
    text = (results / "compare/one-other/README.md").read_text()
    assert text.count("\n| `") == 1  # neither the name nor the seeds
    assert "| setting | one | other |\n|---|---|---|\n| `task.face` | `10` | `11` |\n" in text


def repaired(folder, chance, recovered, seeds=(0, 1)):
    """Adds a repair of base with sft-4, and another one that no other study has."""
    own = f"only-{folder.name}-top1"
    for seed in seeds:
        for name in ("directions-top0.2", own):
            place = folder / f"seed-{seed}/recovery/last-with-anchor" / name
            place.mkdir(parents=True)
            rng, groups = np.random.default_rng(seed), np.arange(40) // 2
            played = [tries(rng.random(40) < chance, groups, name, s) for s in SPLITS]
            labels = {"repair": "last-with-anchor", "intervention": name}
            labels |= {"target": "base", "anchor": "sft-4"}
            pd.concat(played).assign(**labels).to_parquet(place / "episodes.parquet")
    names = ["target", "anchor", "directions-top0.2", own]
    table = pd.DataFrame({"intervention": names, "repair": "last-with-anchor"})
    table.to_parquet(folder / "tables/recovery.parquet")
    effect = pd.DataFrame({"seed": [*seeds, np.nan], "split": "ood_test"})
    effect = effect.assign(repair="last-with-anchor", intervention="directions-top0.2")
    effect["recovered"] = recovered
    effect = effect.assign(recovered_low=0.1, recovered_high=0.9)
    effect.to_parquet(folder / "tables/recovery_effect.parquet")


def test_repairs_are_compared_where_both_have_the_intervention(results, monkeypatch):
    repaired(results / "one", 0.2, 0.25)
    repaired(results / "two", 0.8, 0.75)
    compare(monkeypatch, "one", "two")
    page = results / "compare/one-two"
    table = pd.read_csv(page / "recovery.csv")
    assert set(table["intervention"]) == {"directions-top0.2"}
    assert set(table["seed"].dropna()) == {0, 1}
    mean = table[table["seed"].isna() & (table["split"] == "ood_test")].iloc[0]
    expected = paired_difference_over_seeds(
        *(
            join_tables(
                sorted((results / s).glob("seed-[01]/recovery/*/directions*/*.parquet"))
            ).query("split == 'ood_test'")
            for s in ("two", "one")
        )
    )
    assert mean["difference"] == pytest.approx(expected.difference)
    assert (mean["low"], mean["high"]) == pytest.approx((expected.low, expected.high))
    assert mean["difference"] > 0.3
    text = (page / "README.md").read_text()
    row = next(
        line
        for line in text.splitlines()
        if line.startswith("| last with anchor |") and "OOD" in line
    )
    assert row.endswith("| 25 % [10, 90] | 75 % [10, 90] |")
    for study in ("one", "two"):  # the same weights and intervention, but evaluated otherwise
        weights(results / study, "base", b"0")
        weights(results / study, "sft-4", b"3")
    compare(monkeypatch, "one", "two")
    assert len(pd.read_csv(page / "recovery.csv")) == len(table)


def test_repairs_of_the_same_checkpoints_are_left_out(results, monkeypatch):
    for study in ("one", "two"):
        repaired(results / study, 0.3, 0.5)
        weights(results / study, "base", b"0")
        weights(results / study, "sft-4", b"3")
    compare(monkeypatch, "one", "two")
    page = results / "compare/one-two"
    assert not (page / "recovery.csv").exists()
    assert ": last-with-anchor: directions-top0.2.\n" in (page / "README.md").read_text()


def test_other_problems_are_compared_unpaired_and_said_to_be(results, monkeypatch):
    finished(results / "other", {"base": 0.1, "sft-4": 0.4}, face=11)
    compare(monkeypatch, "one", "other", "--out", "page")
    table = pd.read_csv("page/difference.csv")
    assert not table["paired"].any()
    own = table[(table["checkpoint"] == "base") & (table["split"] == "id_test")]
    assert (own["high"] > own["low"]).all()  # the same outcomes, but not of the same problems
    with open("page/README.md") as file:
        assert "| not paired: other problems |" in file.read()


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
    assert command("default") == "snakemake --cores all"
    assert command("ppo-learning-rate/stages.ppo.learning_rate=3e-05") == (
        "snakemake --snakefile workflow/sweep.smk --cores all "
        "--configfile experiments/sweeps/ppo-learning-rate.yaml"
    )


def test_studies_without_a_common_seed_are_refused(results, monkeypatch):
    finished(results / "late", {"base": 0.1}, seeds=(7,))
    with pytest.raises(UserError, match="late and one have no seed in common"):
        compare(monkeypatch, "one", "late")
