"""The workflow gives a stage the problems for selection only where it may end early by them."""

import json
import re

import pytest

from tests.workflow.test_reruns import jobs

pytestmark = pytest.mark.workflow

PICO = ("--configfile", "tests/workflow/pico.yaml")
STOPPING = "stages: {sft: {early_stopping: {patience: 1}, keep: [16, 32, 48, 64]}}"
MODELS = "results/pico/seed-0/models"
TARGETS = ("--", *(f"{MODELS}/sft-{step}" for step in (16, 48, 64)))


def inputs_of(plan, rule):
    """What `snakemake -n` lists as inputs of the job of a rule."""
    return re.search(rf"rule {rule}:\n    input: (.*)\n", plan.stdout + plan.stderr)[1].split(", ")


def test_the_rule_is_given_id_problems_for_selection_and_no_others(snakemake, clone):
    (clone / "stopping.yaml").write_text(STOPPING)
    plain = snakemake("-n", *PICO, *TARGETS[:2])
    problems = "results/pico/seed-0/problems"
    base = f"{MODELS}/base"
    assert set(inputs_of(plain, "train_sft")) == {base, f"{problems}/demonstrations.parquet"}
    stopping = snakemake("-n", *PICO, "stopping.yaml", *TARGETS)
    assert set(inputs_of(stopping, "train_sft")) == {
        base,
        f"{problems}/demonstrations.parquet",
        f"{problems}/id_selection.parquet",
    }


def test_a_stage_that_ends_early_keeps_all_its_steps_and_trains_anew_for_others(snakemake, clone):
    (clone / "stopping.yaml").write_text(STOPPING)
    done = snakemake("--cores", "2", *PICO, "stopping.yaml", *TARGETS)
    assert done.returncode == 0, (done.stderr + done.stdout)[-5000:]
    notes = json.loads((clone / MODELS / "sft-64" / "provenance.json").read_text())
    found = notes["settings"]["early_stopping"]
    # A model of this size solves nothing, so that the first kept step is the best one.
    assert found["selection_accuracy"] == {"16": 0.0, "32": 0.0}
    assert found["stopped_at"] == 32
    assert found["holds"] == {"16": 16, "32": 32, "48": 16, "64": 16}
    weights = {
        step: (clone / MODELS / f"sft-{step}" / "model.safetensors").read_bytes()
        for step in (16, 48, 64)
    }
    assert weights[16] == weights[48] == weights[64]
    plan = snakemake("-n", *PICO, "stopping.yaml", *TARGETS)
    assert jobs(plan.stdout + plan.stderr) == {}
    (clone / "stopping.yaml").write_text(STOPPING.replace("48", "50"))
    plan = snakemake("-n", *PICO, "stopping.yaml", *TARGETS[:2])
    assert jobs(plan.stdout + plan.stderr) == {"train_sft": 1, "keep_sft": 1}
