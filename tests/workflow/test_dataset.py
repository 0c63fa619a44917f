"""A study of problems of one's own: tables with reference answers, and an imported model."""

import json

import pandas as pd
import pytest
import torch

from svdrift.models.loading import save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from tests.workflow.clones import unquoted

pytestmark = [pytest.mark.workflow, pytest.mark.long]

SPLITS = ("demonstrations", "practice", "id_selection", "id_test", "ood_selection", "ood_test")
SMALL_SFT = {"steps": 4, "batch_size": 4, "micro_batch_size": 4, "warmup_steps": 1}
STUDY = {
    "study": "own-problems",
    "task": {
        "name": "dataset",
        "scorer": "own/scorer.py:in_words",
        "tables": {split: f"own/{split}.jsonl" for split in SPLITS},
        "max_reply_tokens": 3,
    },
    "model": {"dtype": "float32"},
    "stages": {
        # null removes the default's, of which a method keeps no key
        "base": {"method": "import_model", "source": "own/model"},
        "sft": SMALL_SFT | {"keep": [2, 4]},
        "ppo": {
            "from": "sft@4",
            "keep": [],
            "updates": 2,
            "episodes": 8,
            "minibatch_size": 8,
            "epochs": 1,
        },
        "wide": None,
    },
    "story": {"peak": None, "moderate": None, "controls": ["continued"]},
    "spectra": {"pairs": []},
    "recovery": {"interventions": [{"kind": "directions", "top": [0.5]}], "side_interventions": []},
}
SCORER = '''
def in_words(reply, problem):
    """Whether the reply begins with the answer."""
    return reply.split()[:1] == [problem["answer"]]
'''


def test_a_study_of_own_problems_runs(snakemake, clone):
    folder = clone / "own"
    folder.mkdir()
    words = [str(number) for number in range(60)]
    for place, split in enumerate(SPLITS):
        numbers = range(10 * place, 10 * place + 8)
        rows = [{"prompt": f"after {n}", "answer": n + 1, "group": str(n // 2)} for n in numbers]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "scorer.py").write_text(SCORER)
    tokenizer = make_tokenizer([*words, "after"])
    torch.manual_seed(0)
    shape = ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=32)
    save_checkpoint(make_model(len(tokenizer), shape), tokenizer, folder / "model", torch.float32)
    (clone / "own.yaml").write_text(unquoted(STUDY))
    done = snakemake("--cores", "2", "--configfile", "own.yaml")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    results = clone / "results/own-problems"
    accuracy = pd.read_parquet(results / "tables/accuracy.parquet")
    assert {"base", "sft-4", "sft-4.ppo-2"} <= set(accuracy["checkpoint"])
    assert set(accuracy["n"]) == {8}
    assert (results / "report.html").stat().st_size > 10_000
