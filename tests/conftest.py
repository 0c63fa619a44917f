"""What holds for every test: no network, no screen, no two tests fighting for the cores."""

import os

import hypothesis

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: the workers share the cores, one thread each.
    os.environ["OMP_NUM_THREADS"] = "1"

# In CI the same examples each time, so that a red run is the change's fault.
hypothesis.settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("suite")
