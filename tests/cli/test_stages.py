"""`svdrift stages`: the graph as a tree, with cost and what is done."""

import shutil

import pytest
import yaml

from tests.cli.checkpoints import run
from tests.study.studies import ROOT

REPLIES = {
    "replies_of": "ppo@end of sft@64",
    "on": "practice",
    "samples": 4,
    "temperature": 1.0,
}
OVERLAY = {
    "study": "mine",
    "data": {
        "mixed": {"mix": {"turned": 0.25, "rated": 0.75}},
        "turned": {"on": "practice", "rule": "faces"},
        "rated": {"on": "practice", "pass_rate": {"of": "sft@64", "at_most": 0.5}},
    },
    "stages": {
        "wide": None,
        "redistil": {"method": "sft", "from": "base", "on": REPLIES, "keep": [64]},
        "both": {"method": "sft", "from": ["redistil@64", "sft@64"], "on": "mixed"},
    },
    "story": {"controls": ["continued"]},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(OVERLAY, sort_keys=False))
    return tmp_path


def test_stages_stand_below_their_starts_with_their_data(folder, monkeypatch, capsys):
    assert run(monkeypatch, "stages", "mine.yaml") == 0
    said = capsys.readouterr().out
    assert said.splitlines()[:3] == ["mine, seed 0", "", "base: pretraining, on the task's skills"]
    lines = [line.strip("│├└─ ") for line in said.splitlines()]
    assert "sft: SFT, on demonstrations (2,048 problems)" in lines
    assert "sft-{4,8,16,32,64,128,256}  0 of 7 done" in lines
    assert "sft-64.ppo-{20,40,60}  0 of 3 done" in lines
    assert (
        "redistil: SFT, on verified distinct replies of sft-64.ppo-60 to practice (8,192 "
        "problems), 4 samples each" in lines
    )
    assert (
        "both: SFT, on 25% practice (8,192 problems) under rule faces + 75% those of practice "
        "(8,192 problems) that sft-64 solves 0% to 50% of the time, from redistil and sft" in lines
    )
    assert not any(line.startswith("wide") for line in lines)
    depth = {
        line.strip("│├└─ ").split(":")[0]: len(line) - len(line.lstrip("│├└─ "))
        for line in said.splitlines()
    }
    assert depth["base"] < depth["sft"] == depth["redistil"] < depth["ppo"] == depth["continued"]
    assert depth["both"] > depth["redistil"]


def test_what_is_done_and_what_it_took(folder, monkeypatch, capsys):
    results = folder / "results" / "default"
    for name in ("base", "sft-4", "sft-8"):
        model = results / "seed-0" / "models" / name
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(bytes(1_500_000))
    benchmark = results / "benchmarks" / "seed-0" / "train" / "sft.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\n150\n")
    assert run(monkeypatch, "stages") == 0
    lines = [line.strip("│├└─ ") for line in capsys.readouterr().out.splitlines()]
    assert "base  done" in lines
    assert "sft-{4,8,16,32,64,128,256}  2 of 7 done" in lines
    assert "cost: 2 min, 3.0 MB" in lines
    assert "cost: 1.5 MB" in lines
    assert "cost: -" in lines


def test_a_study_for_gpus_is_budgeted(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert run(monkeypatch, "stages", "experiments/qwen-2.5-7b.yaml") == 0
    said = capsys.readouterr().out
    assert "base: import" in said
    assert "cost: 0.0 GPU hours, 15.2 GB" in said
    assert said.count("GPU hours") == said.count("cost:")


def test_a_wrong_study_is_refused_in_one_line(folder, monkeypatch, capsys):
    (folder / "wrong.yaml").write_text("study: wrong\nstages: {sft: {stepps: 3}}")
    assert run(monkeypatch, "stages", "wrong.yaml") == 2
    assert "unknown key 'stages.sft.stepps', did you mean 'steps'?" in capsys.readouterr().err
