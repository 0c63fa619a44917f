"""The whole smoke study through the literal profile, every job a Slurm job."""

import math
from datetime import datetime

import pandas as pd
import pytest

from tests.workflow.test_reruns import SMOKE, jobs

pytestmark = [pytest.mark.workflow, pytest.mark.slurm, pytest.mark.long]

ON_GPUS = {
    "train_base": 60,  # minutes
    "train_sft": 60,
    "train_ppo": 120,
    "train_demonstrated": 120,
    "train_continued": 60,
    "train_wide": 60,
    "evaluate": 30,
    "decompose": 60,
    "measure_drift": 60,
    "measure_updates": 60,
    "recover": 30,
}
ON_CPUS = {
    "make_problems": 10,
    "summarise_task": 10,
    "check_problems": 10,
    "compare_checkpoints": 20,
    "measure_contrasts": 20,
    "measure_recovery": 20,
}
LOCAL = {
    *("choose_anchor", "measure_signals", "summarise_findings", "show_replies", "write_report"),
    *("keep_base", "keep_sft", "keep_ppo", "keep_continued", "keep_wide", "keep_demonstrated"),
    *("collect_accuracy", "collect_advantages", "collect_anchors", "collect_drift"),
    *("collect_losses", "collect_matrices", "collect_metrics", "collect_nulls"),
    *("collect_objectives",),
    *("collect_spectrum", "collect_updates", "collect_value_changes"),
}


def of_rule(done, rule):
    return done[done["Comment"].str.split("_wildcards").str[0] == f"rule_{rule}"]


def test_every_job_is_a_job_of_slurm(done, snakemake):
    everything = jobs(snakemake("-n", "--forceall", *SMOKE).stdout)
    expected = {rule: count for rule, count in everything.items() if rule not in LOCAL}
    grouped = {rule for rule in expected if rule.startswith("plot_")}
    for rule, count in expected.items():
        assert len(of_rule(done, rule)) == (0 if rule in grouped else count), rule
    assert (done["JobState"] == "COMPLETED").all()
    groups = len(done) - sum(count for rule, count in expected.items() if rule not in grouped)
    assert groups == math.ceil(len(grouped) / 6)


def test_jobs_ask_for_what_their_rules_say(done):
    for rule, minutes in ON_GPUS.items():
        asked = of_rule(done, rule)
        assert set(asked["Partition"]) == {"gpu"}, rule
        assert set(asked["TresPerJob"]) == {"gres:gpu:1"}, rule
        assert set(asked["MinMemoryNode"]) == {"4000M"}, rule
        assert set(asked["TimeLimit"]) == {f"{minutes // 60:02}:{minutes % 60:02}:00"}, rule
    for rule, minutes in ON_CPUS.items():
        asked = of_rule(done, rule)
        assert set(asked["Partition"]) == {"main"}, rule
        assert asked.get("TresPerJob", pd.Series(dtype=object)).isna().all(), rule
        assert set(asked["TimeLimit"]) == {f"00:{minutes}:00"}, rule
    assert set(of_rule(done, "train_base")["NumCPUs"]) == {"2"}


def test_no_more_jobs_have_gpus_than_there_are(done):
    with_gpu = done[done["TresPerJob"] == "gres:gpu:1"]
    moments = sorted(
        (datetime.fromisoformat(row[key]), change)
        for _, row in with_gpu.iterrows()
        for key, change in (("EndTime", -1), ("StartTime", 1))  # at the same second ends come first
    )
    at_once = [sum(change for _, change in moments[: i + 1]) for i in range(len(moments))]
    assert max(at_once) == 2


def test_the_tables_are_those_of_a_run_on_one_machine(done, on_slurm, smoke):
    tables = sorted((smoke / "tables").iterdir())
    assert len(tables) > 10
    for table in tables:
        there = on_slurm.folder / "results/smoke/tables" / table.name
        assert there.read_bytes() == table.read_bytes(), table.name
    for data in (smoke / "figures").glob("*.csv"):
        there = on_slurm.folder / "results/smoke/figures" / data.name
        assert there.read_bytes() == data.read_bytes(), data.name
