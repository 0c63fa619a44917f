"""What holds for every test: no network, no screen, no two tests fighting for the cores.

And the finished smoke study, which all tests that need one share.
"""

import os
from pathlib import Path

import hypothesis
import pytest

from tests.workflow.clones import Snakemake, copy_repository, snakemake_in

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: the workers share the cores, one thread each.
    os.environ["OMP_NUM_THREADS"] = "1"

# In CI the same examples each time, so that a red run is the change's fault.
hypothesis.settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def clone(tmp_path_factory) -> Path:
    """A copy of the repository."""
    return copy_repository(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def snakemake(clone) -> Snakemake:
    """Run snakemake in the clone."""
    return snakemake_in(clone)


@pytest.fixture(scope="session")
def smoke(clone, snakemake) -> Path:
    """The finished smoke study: its folder of results."""
    done = snakemake("--cores", "2", "--configfile", "experiments/smoke.yaml")
    assert done.returncode == 0, done.stderr[-5000:]
    return clone / "results" / "smoke"
