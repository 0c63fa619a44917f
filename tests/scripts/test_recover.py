"""Drift and recovery from the command line, on two pico checkpoints of the compact task."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from scripts import export_recovered, measure_drift, measure_updates, recover
from svdrift.errors import UserError
from svdrift.evaluation.episodes import run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.folders import weights_hash
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.spectra.decomposition import decompose_checkpoint
from svdrift.tasks import make_task
from svdrift.tasks.general_points.settings import HandsSettings, Settings
from tests.tasks.general_points.dealing import make_hands

SIZES = {"demonstrated_multisets": 10, "demonstrations": 20, "practice": 20, "selection": 20}
HANDS = HandsSettings(**SIZES, test=20, demonstrated_test=20)
TASK = Settings(hands=HANDS)
PLAY = TASK.play("id_test")
SPLITS = json.dumps([split.model_dump() for split in TASK.splits])


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Models and factors of sft-8 and sft-16, problems, and the choice of sft-8 as the anchor."""
    root = tmp_path_factory.mktemp("study")
    task = make_task(PLAY)
    tokenizer = make_tokenizer(task.words)
    shape = ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=24)
    for seed, name in enumerate(("sft-8", "sft-16", "sft-16.ppo-6")):
        torch.manual_seed(seed)
        folder = root / "models" / name
        save_checkpoint(make_model(len(tokenizer), shape), tokenizer, folder)
        decompose_checkpoint(folder, root / f"{name}.factors")
    make_hands(TASK, 0)["id_test"].to_parquet(root / "id_test.parquet")
    (root / "anchor.json").write_text(json.dumps({"checkpoint": "sft-8"}))
    return root


@pytest.fixture
def run(study, monkeypatch):
    def call(script, *arguments):
        places = ["--models", f"{study}/models/{{checkpoint}}", "--anchor-choice"]
        places += [f"{study}/anchor.json", "--factors", f"{study}/{{checkpoint}}.factors"]
        monkeypatch.setattr(sys, "argv", ["script", *places, *map(str, arguments)])
        script.main()

    return call


REPAIR = ["--target", "sft-16", "--anchor", "anchor", "--intervention"]


@pytest.mark.parametrize(
    ("fields", "same_as"),
    [('{"kind": "reset"}', "sft-8"), ('{"kind": "interpolate", "weight": 0}', "sft-16")],
)
def test_a_variant_plays_as_what_it_is(study, run, tmp_path, fields, same_as):
    out = {name: tmp_path / f"{name}.parquet" for name in ("episodes", "accuracy")}
    run(
        recover,
        *(*REPAIR, fields, "--repair", "last-with-anchor", "--problems", study / "id_test.parquet"),
        *("--task", PLAY.model_dump_json(), "--max-reply-tokens", 4),
        *("--settings", '{"batch_size": 8}', "--splits", SPLITS),
        *(part for name, path in out.items() for part in (f"--{name}", path)),
    )
    assert set(tmp_path.iterdir()) == set(out.values())  # and nothing else is written
    episodes, accuracy = (pd.read_parquet(path) for path in out.values())
    folder = study / "models" / same_as
    expected = run_episodes(
        load_model(folder),
        load_tokenizer(folder),
        make_task(PLAY),
        pd.read_parquet(study / "id_test.parquet"),
        tries=1,
        max_new_tokens=4,
        settings=EvaluationSettings(),
    )
    assert list(episodes["reply"]) == list(expected["reply"])
    for table in (episodes, accuracy):
        places = table[["split", "role", "shift"]].drop_duplicates().to_numpy().tolist()
        assert places == [["id_test", "test", "id"]]
    assert set(accuracy["target"]) == {"sft-16"}
    assert set(accuracy["anchor"]) == {"sft-8"}
    assert {"kind", "top", "layers_start", "modules", "weight"} <= set(accuracy.columns)


def test_a_variant_can_be_exported(study, run, tmp_path):
    (tmp_path / ".model.svdrift-partial-killed").mkdir()
    run(export_recovered, *REPAIR, '{"kind": "reset"}', "--out", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    anchor, exported = load_model(study / "models/sft-8"), load_model(tmp_path / "model")
    for name, tensor in anchor.state_dict().items():
        assert torch.equal(exported.state_dict()[name], tensor)
    assert len(load_tokenizer(tmp_path / "model")) > 5
    record = json.loads((tmp_path / "model/provenance.json").read_text())
    assert record["settings"]["intervention"]["kind"] == "reset"
    card = (tmp_path / "model/README.md").read_text()
    for name, role in (("sft-16", "target"), ("sft-8", "anchor")):
        assert f"| {role} | {name} | `{weights_hash(study / 'models' / name)}` |" in card


def test_drift_names_what_it_compares(run, tmp_path):
    out = ["--drift", tmp_path / "drift", "--value-changes", tmp_path / "values"]
    out += ["--nulls", tmp_path / "nulls"]
    pair = ["--before", "anchor", "--after", "sft-16", "--pair", "anchor-to-last"]
    run(measure_drift, *pair, *out, "--settings", '{"windows": 2, "draws": 2}')
    for name in ("drift", "values", "nulls"):
        table = pd.read_parquet(tmp_path / name)
        labels = table[["pair", "before", "after"]].drop_duplicates().to_numpy().tolist()
        assert labels == [["anchor-to-last", "sft-8", "sft-16"]]


def test_updates_name_their_start(run, tmp_path):
    three = ["--base", "sft-8", "--start", "sft-16", "--result", "sft-16.ppo-6"]
    run(measure_updates, *three, "--out", tmp_path / "updates")
    table = pd.read_parquet(tmp_path / "updates")
    assert "sft_step" not in table
    assert set(table["result"]) == {"sft-16.ppo-6"}


def test_factors_of_other_weights_are_refused(study, run, tmp_path):
    stale = tmp_path / "factors"
    stale.write_bytes((study / "sft-16.factors").read_bytes())
    arguments = ["--base", "sft-8", "--start", "sft-16", "--result", "sft-16.ppo-6"]
    with pytest.raises(UserError, match="made from other weights than those of"):
        run(measure_updates, *arguments, "--out", tmp_path / "out", "--factors", stale)
