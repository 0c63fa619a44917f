"""GRPO takes PPO's place by one setting, and shares everything before it."""

import json

import pytest

from tests.workflow.test_reruns import SMOKE, jobs

pytestmark = pytest.mark.workflow

GRPO = "rl: {method: grpo}"


def test_method_grpo_plans_grpo_and_its_own_controls(smoke, snakemake, clone):
    (clone / "overlay.yaml").write_text(GRPO)
    plan = snakemake("-n", *SMOKE, "overlay.yaml")
    planned = jobs(plan.stdout)
    assert planned["train_grpo"] == 2, plan.stderr
    assert planned["train_grpo_on_demonstrations"] == 1
    assert planned["measure_rl_effect"] == 1
    again = {"pretrain", "train_sft", "train_ppo", "continue_sft", "widen_sft", "plot_advantages"}
    assert not again & set(planned)


def test_grpo_runs_from_the_same_checkpoint(smoke, snakemake, clone):
    (clone / "overlay.yaml").write_text(GRPO)
    folder = "results/smoke/seed-0/models/grpo-from-4"
    done = snakemake("--cores", "1", *SMOKE, "overlay.yaml", "--", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (clone / folder / "model.safetensors").is_file()
    made = json.loads((clone / folder / "provenance.json").read_text())
    assert made["inputs"]["model"]["path"].endswith("sft-4")
    assert made["settings"]["grpo"]["updates"] == 2
