"""A real Slurm, and a copy of the repository that is set up for it as its user would."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.slurm.cluster import Cluster, missing
from tests.workflow.clones import copy_repository, variables_in

# On a cluster without accounting, and where a second counts.
FOR_TESTS = (
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "2"),
    *("--latency-wait", "20"),
)
# Jobs get GPUs and compute on the CPU, since the GPUs are none.
ON_GPUS_THAT_COUNT = {"compute": {"gpus": 1, "use_gpus": False}}


@dataclass
class OnSlurm:
    """The copy of the repository on the cluster.

    Attributes:
        folder: of the copy.
        cluster: the Slurm.
        variables: of the environment in which its programs run.
    """

    folder: Path
    cluster: Cluster
    variables: dict[str, str]

    def start(
        self,
        *arguments: str,
        log: Path,
        command: Sequence[str] = ("snakemake", "--profile", "slurm"),
        settings: dict[str, Any] | None = None,
    ) -> subprocess.Popen:
        """Start Snakemake on the smoke study with further settings; what it says goes to `log`."""
        overlay = log.with_suffix(".yaml")
        overlay.write_text(yaml.safe_dump(ON_GPUS_THAT_COUNT | (settings or {})))
        study = ["--configfile", "experiments/smoke.yaml", str(overlay)]
        with log.open("a") as file:
            return subprocess.Popen(
                [*command, *study, *FOR_TESTS, *arguments],
                cwd=self.folder,
                # In the background of a shell SIGINT is ignored, which is inherited.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                env=os.environ | self.variables,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def jobs(self, rule: str, since: int = 0) -> list[dict[str, str]]:
        """Slurm's record of a rule's jobs after the one with the id `since`, in their order."""
        found = [
            job
            for job in self.cluster.jobs()
            if job.get("Comment", "").split("_wildcards")[0] == f"rule_{rule}"
            and int(job["JobId"]) > since
        ]
        return sorted(found, key=lambda job: int(job["JobId"]))

    def last_job(self) -> int:
        """The highest job id so far."""
        return max((int(job["JobId"]) for job in self.cluster.jobs()), default=0)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A Slurm of one node with two GPUs."""
    if reason := missing():
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    slurm = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@pytest.fixture(scope="session")
def on_slurm(cluster, tmp_path_factory) -> OnSlurm:
    """A copy of the repository whose `slurm/site.yaml` names the cluster's partitions.

    It uses no store: everything is computed there.
    """
    folder = copy_repository(tmp_path_factory.mktemp("on-slurm"))
    site = folder / "slurm/site.yaml"
    text = site.read_text().replace("partition: null", "partition: gpu", 1)
    site.write_text(text.replace("partition: null", "partition: main", 1))
    variables = cluster.environment | variables_in(folder)
    variables["PATH"] = f"{cluster.root}/bin:{variables['PATH']}:/usr/sbin"
    return OnSlurm(folder, cluster, variables | {"SVDRIFT_STORE": ""})


@pytest.fixture(scope="session")
def done(on_slurm, tmp_path_factory):
    """Slurm's record of the jobs of the finished study."""
    log = tmp_path_factory.mktemp("logs") / "smoke.log"
    process = on_slurm.start(log=log)
    assert process.wait(timeout=3600) == 0, log.read_text()[-5000:]
    jobs = pd.DataFrame(on_slurm.cluster.jobs())
    return jobs[jobs["Comment"].str.startswith("rule_", na=False)]  # not those of the test itself


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is so. Raises: AssertionError that says what was waited for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.3)
