"""What goes wrong on clusters, on the real Slurm, while a job of the finished smoke study trains.

Each test asks for SFT with a setting of its own, so that this one job must run again.
"""

import os
import re
import signal

import pytest

from tests.slurm.conftest import wait_for

pytestmark = [pytest.mark.workflow, pytest.mark.slurm, pytest.mark.long]

LOSSES = "results/smoke/seed-0/training/sft/losses.parquet"
LOG = "results/smoke/logs/seed-0/train/sft.log"
SLURM_LOGS = "results/.slurm/rule_train_sft/0_sft"
SNAPSHOTS = "results/smoke/seed-0/snapshots/sft"
WENT_ON = r"goes on from the snapshot \S+/checkpoint-(\d+)\n"


class Training:
    """A Snakemake at work, of whose jobs one trains."""

    def __init__(self, on_slurm, folder, number, *arguments, steps=1500, **options):
        """Start it; `number` makes the setting its own."""
        self.on_slurm, self.said = on_slurm, folder / "snakemake.log"
        self.log = on_slurm.folder / LOG
        self.log.unlink(missing_ok=True)
        self.since = on_slurm.last_job()
        self.options = options | {
            "settings": {
                "stages": {
                    "sft": {
                        "learning_rate": number * 1e-5,
                        "steps": steps,
                        "keep": [4, 8, 16, steps],
                    }
                }
            }
        }
        self.arguments = [*arguments, "--", LOSSES]
        self.process = self.start()

    def start(self, **options):
        return self.on_slurm.start(*self.arguments, log=self.said, **self.options | options)

    def jobs(self):
        return self.on_slurm.jobs("train_sft", self.since)

    def until_it_trains(self):
        """Wait until the job is past its first snapshots, long before its end."""
        wait_for(
            lambda: list(self.on_slurm.folder.glob(f"{SNAPSHOTS}/*/checkpoint-16")),
            180,
            f"a snapshot in {SNAPSHOTS}",
        )

    def output(self, job):
        """What an attempt said: Slurm's log has it, the rule's own is the last attempt's alone."""
        return (self.on_slurm.folder / SLURM_LOGS / f"{job['JobId']}.log").read_text()

    def ends(self, timeout=400):
        """Wait until Snakemake ends; whether all is well."""
        return self.process.wait(timeout=timeout) == 0


@pytest.fixture
def train(done, on_slurm, tmp_path):
    """Start a `Training`; what is left of it after the test ends."""
    started = []

    def start(*arguments, **options):
        started.append(Training(on_slurm, tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for training in started:
        if training.process.poll() is None:
            training.process.kill()
            on_slurm.cluster.run("scancel", *(job["JobId"] for job in training.jobs()))


def test_a_cancelled_job_goes_on_from_its_snapshot(train, on_slurm):
    training = train(1)
    training.until_it_trains()
    (job,) = training.jobs()
    assert on_slurm.cluster.run("scancel", job["JobId"]).returncode == 0
    assert training.ends(), training.said.read_text()[-3000:]
    first, second = training.jobs()
    assert first["JobState"] == "CANCELLED"
    assert second["JobState"] == "COMPLETED"
    told = re.search(r"stopped by SIGTERM after step (\d+) of 1500", training.output(first))
    step = int(told[1])
    assert step > 16  # further than the last checkpoint
    log = training.log.read_text()
    assert "attempt 2, with 8000 MB of memory and 120 minutes" in log
    assert int(re.search(WENT_ON, log)[1]) == step


def test_a_job_whose_time_is_over_saves_what_it_has_and_gets_more(train):
    # It is told two minutes before the end, that is after one of its three.
    longer = ("--set-resources", "train_sft:runtime=3*attempt")
    training = train(2, *longer, steps=20000)
    wait_for(lambda: len(training.jobs()) == 2, 240, "a second attempt")
    first, second = training.jobs()
    assert (first["TimeLimit"], second["TimeLimit"]) == ("00:03:00", "00:06:00")
    wait_for(
        lambda: training.log.exists() and re.search(WENT_ON, training.log.read_text()),
        120,
        "the second attempt",
    )
    told = re.search(r"stopped by SIGTERM after step (\d+) of 20000", training.output(first))
    assert re.search(WENT_ON, training.log.read_text())[1] == told[1]
    training.process.send_signal(signal.SIGINT)  # cancels what is left
    assert not training.ends()


def test_a_job_out_of_memory_gets_more_and_says_so(train):
    little = ("--set-resources", "train_sft:mem_mb=600*attempt**2")
    training = train(3, *little, steps=20)
    assert training.ends(), training.said.read_text()[-3000:]
    *failed, last = training.jobs()
    assert failed
    assert {job["JobState"] for job in failed} <= {"FAILED", "OUT_OF_MEMORY", "CANCELLED"}
    assert last["JobState"] == "COMPLETED"
    memory = 600 * (len(failed) + 1) ** 2
    assert last["MinMemoryNode"] == f"{memory}M"
    assert f"attempt {len(failed) + 1}, with {memory} MB of memory" in training.log.read_text()


def test_a_controller_that_starts_again_loses_nothing(train, on_slurm):
    training = train(4)
    training.until_it_trains()
    on_slurm.cluster.kill_controller()
    on_slurm.cluster.start_controller()
    assert training.ends(), training.said.read_text()[-3000:]
    (job,) = training.jobs()
    assert job["JobState"] == "COMPLETED"


def test_a_run_goes_on_after_snakemake_was_killed(train):
    resume = {"command": ("python", "scripts/resume.py")}
    training = train(5)
    training.until_it_trains()
    refused = training.start(**resume)
    assert refused.wait(60) == 2
    assert "a Snakemake is at work here (process" in training.said.read_text()
    os.kill(training.process.pid, signal.SIGKILL)
    training.process.wait()
    (orphan,) = training.jobs()
    assert orphan["JobState"] == "RUNNING"

    training.process = training.start(**resume)
    assert training.ends(), training.said.read_text()[-3000:]
    first, second = training.jobs()
    assert first["JobState"] == "CANCELLED"
    assert second["JobState"] == "COMPLETED"
    assert first["EndTime"] <= second["StartTime"]  # never both at once
    assert re.search(WENT_ON, training.log.read_text())
