"""The published studies have a graph, without their weights and without a network."""

import re

import pytest

from svdrift.budget.costs import Machine
from svdrift.budget.shape import shape_of, without_weights
from svdrift.budget.table import items
from svdrift.study.overlays import read_config
from svdrift.study.settings import read_settings
from tests.published import ROOT
from tests.workflow.test_reruns import jobs

pytestmark = pytest.mark.workflow

GRAPHS = {
    "llama-3.2-11b": {
        "train_base": 1,
        "train_sft": 1,
        "keep_sft": 17,
        "train_ppo": 8,
        "keep_ppo": 9,
        "train_continued": 3,
        "train_wide": 1,
        "evaluate": 18 + 8 + 1 + 4,  # the path's, RL's, one on the way, controls'
        "decompose": 18 + 8,
        "measure_drift": 17 + 1 + 8,
        "measure_updates": 8,
        "recover": 19 + 3 + 3,
        "export_recovered": 0,
    },
    "qwen-2.5-7b": {
        "train_base": 1,
        "train_sft": 1,
        "keep_sft": 10,
        "train_ppo": 4,
        "keep_ppo": 5,
        "train_continued": 3,
        "train_wide": 1,
        "evaluate": 11 + 4 + 1 + 4,
        "decompose": 11 + 4,
        "measure_drift": 10 + 1 + 4,
        "measure_updates": 4,
        "recover": 19 + 3 + 3,
        "export_recovered": 0,
    },
}


@pytest.mark.parametrize("study", GRAPHS)
def test_a_published_study_has_its_graph(snakemake, study):
    plan = snakemake("-n", "--configfile", f"experiments/{study}.yaml")
    assert plan.returncode == 0, plan.stderr[-2000:]
    planned = jobs(plan.stdout + plan.stderr)
    assert {rule: planned.get(rule, 0) for rule in GRAPHS[study]} == GRAPHS[study]
    assert budgeted(study) == {what: sum(map(GRAPHS[study].get, r)) for what, r in BUDGET.items()}


# Lines of the budget, and the rules whose jobs they count.
BUDGET = {
    "stage `base`": ("train_base",),
    "stage `sft`": ("train_sft",),
    "stage `ppo`": ("train_ppo",),
    "stage `continued`": ("train_continued",),
    "stage `wide`": ("train_wide",),
    "evaluation": ("evaluate",),
    "decomposition": ("decompose",),
    "drift of a pair": ("measure_drift",),
    "updates up to a start of RL, and by RL": ("measure_updates",),
    "repaired model, in memory": ("recover",),
}


def budgeted(study):
    settings = read_settings(read_config(ROOT / f"experiments/{study}.yaml", ROOT / "config.yaml"))
    shape = shape_of(without_weights(settings, ROOT / "experiments/models"), settings)
    return {item.what: item.jobs for item in items(settings, shape, Machine())}


@pytest.mark.long
def test_the_budget_is_printed_each_time(snakemake):
    arguments = ("--cores", "1", "--configfile", "experiments/qwen-2.5-7b.yaml", "--", "budget")
    for _ in range(2):
        done = snakemake(*arguments)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Study `qwen-2.5-7b`, Qwen/Qwen2.5-7B-Instruct: 7.62·10⁹ parameters" in done.stdout


@pytest.mark.parametrize("attempt", [1, 2])
def test_jobs_ask_for_what_the_study_says_and_more_at_each_attempt(snakemake, attempt):
    plan = snakemake(
        *("-n", "--attempt", str(attempt), "--configfile", "experiments/llama-3.2-11b.yaml"),
        *("--config", "compute={'resources': {'train_sft': {'mem_mb': 70000}}}"),
    )
    assert plan.returncode == 0, plan.stderr[-2000:]
    said = plan.stdout + plan.stderr
    asked = {
        rule: re.search(rf"^rule {rule}:.*?^    resources: (.*?)$", said, re.M | re.S)[1]
        for rule in ("train_sft", "decompose", "compare_checkpoints")
    }
    assert f"mem_mb={70000 * attempt}," in asked["train_sft"]
    assert f"runtime={480 * attempt}," in asked["train_sft"]  # merged with the study's own
    assert f"mem_mb={64000 * attempt}," in asked["decompose"]
    assert f"mem_mb={4000 * attempt}," in asked["compare_checkpoints"]
    assert "resources" not in re.search(r"compute=(\{.*?\})", asked["train_sft"])[1]
