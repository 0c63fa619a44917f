"""A recovered checkpoint as a folder: what transformers makes of it, and what a failure leaves."""

import resource
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from svdrift.errors import UserError
from svdrift.models.loading import load_model
from svdrift.recovery.apply import recovered
from svdrift.recovery.folder import remove_leftovers, write_folder
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.decomposition import Decomposed
from tests.spectra.synthetic import llama, moved, save

SOME = Intervention("directions", top=0.4, layers=(0.5, 1))


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Decomposed, Decomposed]:
    """Target and anchor; the target with more than weights in its folder."""
    folder = tmp_path_factory.mktemp("folder")
    target = llama(0, tied=request.param)
    target.generation_config.max_new_tokens = 7
    found = (
        save(target, folder / "target"),
        save(moved(llama(0, tied=request.param), 1), folder / "anchor"),
    )
    for name in ("tokenizer.json", "provenance.json", "pytorch_model.bin.index.json"):
        (folder / "target" / name).write_text("{}")
    return found


@pytest.mark.parametrize("shard_bytes", [4000, 10**9])
def test_transformers_loads_what_is_recovered_in_memory(two, tmp_path, shard_bytes):
    out = tmp_path / "deep" / "out"
    left = write_folder(*two, SOME, out, shard_bytes=shard_bytes).left
    assert left == ["pytorch_model.bin.index.json"]
    assert (len(list(out.glob("*.safetensors"))) > 3) == (shard_bytes == 4000)
    exported, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(report.values()), report
    assert exported.generation_config.max_new_tokens == 7
    model = load_model(two[0].weights.folder)
    with recovered(model, *two, SOME):
        for loaded in (exported, load_model(out)):  # the latter refuses what is not exact
            for name, tensor in loaded.state_dict().items():
                assert torch.equal(tensor, model.state_dict()[name])
    with pytest.raises(UserError, match="exists already"):
        write_folder(*two, SOME, out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


OWN = """
from svdrift.recovery.kind import Kind

KIND = Kind(label="half of the values", colour="#009E73", marker="v")


def mix(target, anchor, rng):
    from svdrift.recovery.mixing import LowRank

    return LowRank(target.U * (anchor.S - target.S) / 2, target.Vh)
"""


def test_a_kind_of_one_s_own_is_exported(two, tmp_path):
    file = tmp_path / "half.py"
    file.write_text(OWN)
    write_folder(*two, Intervention(str(file), top=1.0), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "with tensors changed by `half of the values` (the top 100 % of ranks" in card
    assert '"kind": "half.py"' in card
    assert str(tmp_path) not in card  # cards are published
    target, anchor = two
    key = (0, "q")
    exported = load_model(tmp_path / "out").state_dict()[target.factors.matrices[key].name]
    new, old, other = (
        torch.linalg.svdvals(weight)
        for weight in (exported, target.weight(key), anchor.weight(key))
    )
    assert torch.allclose(new, (old + other) / 2, atol=1e-5)


def test_the_card_says_what_a_kind_does(two, tmp_path):
    write_folder(*two, SOME, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "with singular vectors replaced by the anchor's, singular values kept (the top" in card


FULL = """
import resource, sys
from pathlib import Path
from svdrift.recovery.folder import write_folder
from svdrift.recovery.interventions import Intervention
from svdrift.scripting import run
from svdrift.spectra.decomposition import Decomposed
target, anchor, out = map(Path, sys.argv[1:])
two = [Decomposed.open(folder, folder.with_suffix(".factors")) for folder in (target, anchor)]
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
run(lambda: write_folder(*two, Intervention("reset"), out))
"""


def test_a_write_that_fails_leaves_nothing(two, tmp_path):
    """The kernel ends writes early, as on a full disk."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    folders = [str(one.weights.folder) for one in two]
    command = [sys.executable, "-c", FULL, *folders, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    for name in (".model.svdrift-partial-x1/model", "model", ".model.backup", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".model.env").touch()
    remove_leftovers(tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {
        "model",
        ".model.backup",
        ".model.env",
        "other",
    }
