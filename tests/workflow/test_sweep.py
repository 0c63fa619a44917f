"""A sweep in one graph, its points side by side, and what `svdrift status` says of it."""

import os
import resource
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from tests.workflow.test_smoke import jobs

pytestmark = pytest.mark.workflow

SWEEP = ("--snakefile", "workflow/sweep.smk", "--configfile", "sweep.yaml")
POINTS = [f"pico/stages.sft.learning_rate={rate}" for rate in ("0.001", "0.01")]
CHANGES = {
    "study": "pico",
    "sweep": {"stages.sft.learning_rate": [0.001, 0.01]},
    "story": {"peak": None, "rl": None, "controls": [], "moderate": None},
    "spectra": {"pairs": []},
    "recovery": {"interventions": [], "side_interventions": []},
}


@pytest.fixture(scope="module")
def config(clone):
    """The smallest sweep: two short runs of SFT."""
    config = yaml.safe_load((clone / "experiments/smoke.yaml").read_text()) | CHANGES
    config["stages"]["base"]["steps"] = 6
    config["stages"]["sft"] |= {"steps": 4, "keep": [4]}
    config["stages"] |= dict.fromkeys(("ppo", "continued", "wide", "demonstrated"))
    config["task"]["hands"] |= {"selection": 20, "test": 40, "demonstrated_test": 20}
    return config


@pytest.fixture(scope="module")
def sweep(clone, snakemake, config):
    (clone / "sweep.yaml").write_text(yaml.safe_dump(config))
    done = snakemake("--cores", "2", *SWEEP)
    assert done.returncode == 0, done.stderr[-5000:]
    return clone / "results/pico"


@pytest.fixture
def python(clone):
    def run(*arguments):
        environment = os.environ | {"PYTHONPATH": str(clone)}
        return subprocess.run(
            [sys.executable, *arguments], cwd=clone, env=environment, capture_output=True, text=True
        )

    return run


def test_table_and_figure_hold_every_point(sweep):
    table = pd.read_parquet(sweep / "tables/sweep.parquet")
    assert set(table["stages.sft.learning_rate"]) == {0.001, 0.01}
    for point, part in zip(POINTS, (0.001, 0.01), strict=True):
        own = pd.read_parquet(sweep.parent / point / "tables/accuracy.parquet")
        rows = table[table["stages.sft.learning_rate"] == part].drop(
            columns="stages.sft.learning_rate"
        )
        pd.testing.assert_frame_equal(rows.reset_index(drop=True), own)
    assert len(pd.read_csv(sweep / "tables/sweep.csv")) == len(table)
    assert (sweep / "figures/sweep.png").stat().st_size > 10_000


def test_claims_of_all_points_stand_side_by_side(sweep, snakemake):
    done = snakemake("--cores", "2", *SWEEP, "--", "claims")
    assert done.returncode == 0, done.stderr[-5000:]
    table = pd.read_csv(sweep / "tables/claims.csv")
    assert {"verdict learning_rate 0.001", "verdict learning_rate 0.01"} <= set(table)
    assert set(table["claim"]) == {"forgetting"}
    text = (sweep / "tables/claims.md").read_text()
    assert "| learning_rate 0.001 | learning_rate 0.01 | one sign |" in text
    assert all(statement in text for statement in table["statement"])


def test_points_share_what_the_sweep_does_not_touch(sweep):
    logs = [(sweep.parent / point / "logs/seed-0") for point in POINTS]
    for stage, shared in (("train/base", 1), ("evaluate/base", 1), ("train/sft", 0)):
        said = [(folder / f"{stage}.log").read_text() for folder in logs]
        assert sum("reused from" in text for text in said) == shared, stage


def test_one_more_value_runs_only_its_own_point(sweep, snakemake, clone, config):
    more = config | {"sweep": {"stages.sft.learning_rate": [0.001, 0.01, 0.1]}}
    (clone / "more.yaml").write_text(yaml.safe_dump(more))
    plan = snakemake("-n", *SWEEP[:-1], "more.yaml")
    planned = jobs(plan.stdout + plan.stderr)
    assert {"collect_sweep", "plot_sweep", "stages_sft_learning_rate_0_1_train_sft"} <= set(planned)
    assert not [rule for rule in planned if "0_01_" in rule or "0_001_" in rule]


def test_a_point_that_is_wrong_stops_the_sweep_in_one_line(snakemake, clone):
    (clone / "wrong.yaml").write_text("study: wrong\nsweep: {stages.sft.steps: [256, 8]}")
    refused = snakemake("--cores", "1", *SWEEP[:-1], "wrong.yaml")
    assert refused.returncode != 0
    said = [line for line in (refused.stdout + refused.stderr).splitlines() if "error" in line]
    assert len(said) == 1, refused.stderr
    assert said[0].startswith(
        "error: sweep: at stages.sft.steps = 8: config: stages.sft.keep: step 256"
    )
    assert not (clone / "results/wrong").exists()


def test_points_compare_on_the_same_problems(sweep, python):
    done = python("scripts/compare_studies.py", *POINTS)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = next((sweep.parent / "compare").iterdir())
    assert done.stdout == f"Comparison: results/compare/{folder.name}/README.md\n"
    table = pd.read_csv(folder / "difference.csv")
    assert table["paired"].all()
    assert set(table["checkpoint"]) == {"sft-4"}
    # The points share the base, so it cannot differ.
    assert "solved the same problems): base.\n" in (folder / "README.md").read_text("utf-8")
    assert (folder / "accuracy.pdf").read_bytes().startswith(b"%PDF")


def test_status_tells_what_is_done_and_what_would_run(sweep, python, clone, config):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = python("-m", "svdrift", "status", "sweep.yaml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 15  # a third of that where nothing else runs
    assert finished.returncode == 0, finished.stderr
    rows = {line.split()[0]: line.split() for line in finished.stdout.splitlines() if line}
    assert rows["stages_sft_learning_rate_0_01_evaluate"][1:3] == ["2", "0"]
    assert "Nothing is left to run." in finished.stdout
    assert rows["stages_sft_learning_rate_0_01_train_sft"][4] == "s"  # the time it took

    changed = config | {"evaluation": {"tries": 2}}
    (clone / "changed.yaml").write_text(yaml.safe_dump(changed))
    waiting = python("-m", "svdrift", "status", "changed.yaml")
    lines = {line.split()[0]: line for line in waiting.stdout.splitlines() if line}
    assert lines["stages_sft_learning_rate_0_01_train_sft"].split()[2] == "0"
    evaluate = lines["stages_sft_learning_rate_0_01_evaluate"]
    assert evaluate.split()[1:4] == ["0", "2", "0"]
    assert evaluate.endswith("its settings or code changed")
    assert lines["plot_sweep"].split()[2] != "0"
    assert "or more on" in waiting.stdout.splitlines()[-2]

    again = config | {"study": "again"}  # the same under another name: all from the store
    (clone / "again.yaml").write_text(yaml.safe_dump(again))
    shared = python("-m", "svdrift", "status", "again.yaml")
    lines = {line.split()[0]: line.split() for line in shared.stdout.splitlines() if line}
    assert lines["stages_sft_learning_rate_0_01_train_sft"][1:4] == ["0", "1", "1"]
    assert lines["stages_sft_learning_rate_0_01_evaluate"][1:4] == ["0", "2", "2"]


def test_status_refuses_in_one_line(python, clone):
    (clone / "wrong.yaml").write_text("study: wrong\nstories: {rl: ppo}")
    refused = python("-m", "svdrift", "status", "wrong.yaml")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: config: unknown key 'stories', did you mean")
    assert refused.stderr.count("\n") == 1
