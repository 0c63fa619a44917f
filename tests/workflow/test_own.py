"""What is not in the project: a method and a task from the tests' own folders, in one study."""

import json

import pandas as pd
import pytest

from tests.workflow.clones import unquoted
from tests.workflow.test_reruns import jobs

pytestmark = pytest.mark.workflow

RL = {"updates": 2, "episodes": 8, "minibatch_size": 8, "epochs": 1}
STUDY = {
    "study": "own",
    "task": {"name": "tests/tasks/toy_task.py"},
    "stages": {
        "base": {
            "steps": 20,
            "batch_size": 16,
            "warmup_steps": 2,
            "architecture": {
                "hidden_size": 16,
                "layers": 2,
                "heads": 2,
                "intermediate_size": 32,
            },
        },
        "sft": {
            "on": "lessons",
            "steps": 8,
            "batch_size": 4,
            "micro_batch_size": 4,
            "warmup_steps": 1,
            "keep": [4, 8],
        },
        "ppo": {"from": ["sft@4", "sft@8"], "on": "exercises", "keep": [1], **RL},
        "continued": {"on": "lessons"},
        "wide": {"from": "sft@8", "on": "exercises"},
        # A method of one's own, after RL, and training again after that.
        "noise": {
            "method": "tests/workflow/own/noise_method.py",
            "from": "ppo@end of sft@8",
            "scale": 0.02,
            "steps": 3,
            "keep": [1],
        },
        "again": {
            "method": "sft",
            "from": "noise@end",
            "on": "lessons",
            "steps": 2,
            "batch_size": 4,
            "micro_batch_size": 4,
        },
    },
    "story": {"peak": None, "moderate": "sft@8"},
    "spectra": {"windows": 4, "draws": 2, "shares": [0.5]},
    "recovery": {
        "interventions": [{"kind": "directions", "top": [0.5, 1]}],
        "side_interventions": [],
    },
}
LAST = "sft-8.ppo-2.noise-3.again-2"


@pytest.fixture(scope="module")
def own(clone, snakemake):
    (clone / "own.yaml").write_text(unquoted(STUDY))
    done = snakemake("--cores", "2", "--configfile", "own.yaml")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return clone / "results/own"


def test_the_whole_study_runs(own):
    accuracy = pd.read_parquet(own / "tables/accuracy.parquet")
    assert {"base", "sft-4", "sft-8.ppo-2", "sft-8.ppo-2.noise-1", LAST} <= set(
        accuracy["checkpoint"]
    )
    assert set(accuracy["split"]) == {
        "lessons_again",
        "small_trial",
        "large_trial",
        "small_exam",
        "large_exam",
    }
    row = accuracy[accuracy["checkpoint"] == LAST].iloc[0]
    assert (row["stage"], row["step"], row["start"]) == ("again", 2, "sft-8.ppo-2.noise-3")
    assert (own / "figures/stages_overview.png").stat().st_size > 10_000
    assert (own / "report.html").stat().st_size > 1000


def test_the_method_left_its_table_and_provenance(own):
    sizes = pd.read_parquet(own / "seed-0/training/sft-8.ppo-2.noise/sizes.parquet")
    assert list(sizes["step"]) == [1, 2, 3]
    record = json.loads((own / "seed-0/models/sft-8.ppo-2.noise-3/provenance.json").read_text())
    assert record["settings"]["settings"] == {"scale": 0.02, "steps": 3}


def test_an_edit_of_the_method_trains_by_it_again_and_not_before_it(own, snakemake, clone):
    file = clone / "tests/workflow/own/noise_method.py"
    before = file.read_text()
    file.write_text(before.replace("noise *=", "noise = noise *"))
    plan = snakemake("-n", "--configfile", "own.yaml")
    file.write_text(before)
    planned = jobs(plan.stdout + plan.stderr)
    assert planned["train_noise"] == planned["train_again"] == 1
    assert not {"train_base", "train_sft", "train_ppo", "train_continued"} & set(planned)
