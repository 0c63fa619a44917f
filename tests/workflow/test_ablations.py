"""Chains of stages of every kind, wired by configuration alone, run at pico size."""

import pandas as pd
import pytest

from tests.workflow.clones import unquoted
from tests.workflow.test_reruns import jobs

pytestmark = pytest.mark.workflow

SMALL_RL = {"updates": 2, "episodes": 8, "minibatch_size": 8, "epochs": 1}
SMALL_SFT = {"steps": 4, "batch_size": 4, "micro_batch_size": 4}

# Each ablation: what makes it small, and checkpoints that its study must have evaluated.
ABLATIONS = {
    "grpo": ({"grpo": SMALL_RL | {"group_size": 4}}, ["sft-64.grpo-2", "sft-64.ppo-2"]),
    # A model of this size solves nothing, so replies are not verified here.
    "rejection-sampling": ({"rejection": {"on": {"verified": False}}}, ["sft-64.rejection-2"]),
    "curriculum": (
        {"first": SMALL_RL, "second": SMALL_RL},
        ["sft-64.first-2", "sft-64.first-2.second-2"],
    ),
    "middling": (
        {"middling": {"on": {"pass_rate": {"samples": 2, "at_least": 0.0}}}},
        ["sft-64.middling-2"],
    ),
    "two-rules": ({"both": SMALL_SFT | {"keep": [2]}}, ["both-2", "both-4"]),
    **{
        name: ({}, ["sft-64.ppo-2"])
        for name in (
            "third-rule",
            "all-faces-twelve",
            "other-targets",
            "five-cards",
            "large-cards",
            "fake-rule",
            "three-cards",
            "raster",
        )
    },
}
# Shifts that a study has beside OOD.
FURTHER = {
    "third-rule": {"odd"},
    "all-faces-twelve": {"twelves"},
    "other-targets": {"twenty", "thirty"},
    "five-cards": {"five_cards"},
    "large-cards": {"large"},
    "fake-rule": {"fake", "fake_turned"},
    "raster": {"red", "mirrored"},
}
# What at this size is not there: SFT on RL's problems, and step 64 of a run of 4.
EXTRA = {
    "grpo": {"story": {"controls": ["continued", "grpo"]}},
    "two-rules": {"comparisons": [["both@end", "sft@end"]]},
}


# What runs always: another method, and data from a checkpoint.
ALWAYS = ("grpo", "rejection-sampling")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.long) for name in ABLATIONS],
)
def test_an_ablation_runs(snakemake, clone, name):
    stages, expected = ABLATIONS[name]
    small = {"study": f"pico-{name}", "stages": stages} | EXTRA.get(name, {})
    (clone / "small.yaml").write_text(unquoted(small))
    tables = f"results/pico-{name}/tables"
    targets = (f"{tables}/accuracy.parquet", f"{tables}/comparisons.parquet")
    figure = f"results/pico-{name}/figures/stages_overview.png"
    files = ("tests/workflow/pico.yaml", f"experiments/ablations/{name}.yaml", "small.yaml")
    done = snakemake("--cores", "2", "--configfile", *files, "--", *targets, figure)
    assert done.returncode == 0, (done.stderr + done.stdout)[-5000:]
    accuracy = pd.read_parquet(clone / tables / "accuracy.parquet")
    assert {"base", "sft-16", "sft-64", *expected} <= set(accuracy["checkpoint"])
    shifts = set(accuracy.loc[accuracy["role"] == "test", "shift"])
    assert shifts == {"id", "ood"} | FURTHER.get(name, set())
    compared = pd.read_parquet(clone / tables / "comparisons.parquet")
    assert compared["difference"].between(-1, 1).all()
    plan = snakemake("-n", "--configfile", *files, "--", *targets, figure)
    assert jobs(plan.stdout + plan.stderr) == {}, plan.stdout[-2000:]


def test_every_ablation_is_short(clone):
    for name in ABLATIONS:
        text = (clone / f"experiments/ablations/{name}.yaml").read_text()
        assert len(text.splitlines()) <= 16, name
