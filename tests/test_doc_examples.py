"""The examples in the documents are right: studies are valid, method and kind do what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import svdrift
from svdrift.findings.finding import findings_table
from svdrift.findings.paper import load as load_paper
from svdrift.findings.paper_page import page
from svdrift.models.loading import load_model, save_checkpoint
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.probes.probe import Probed
from svdrift.probes.probe import load as load_probe
from svdrift.recovery.mixing import changed
from svdrift.spectra.decomposition import Factors
from svdrift.story import Story
from svdrift.study.overlays import laid_over, read_yaml
from svdrift.study.settings import read_settings
from svdrift.tasks import load_settings as load_task
from svdrift.tasks import make_task, task_class
from svdrift.training.method import load_settings
from svdrift.training.run import Run, load_train

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


STUDIES = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, text in enumerate(blocks(page, "yaml"))
    if "study" in yaml.safe_load(text)
]


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """A folder with the files that the guide to extensions writes."""
    for text in blocks(ROOT / "docs/extending.md", "python"):
        name = re.match(r"# (mine/\S+)\n", text)
        if name:
            (tmp_path / name[1]).parent.mkdir(exist_ok=True)
            (tmp_path / name[1]).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", STUDIES)
def test_studies_are_valid(text, examples):
    overlay = yaml.safe_load(text)
    for setting, values in overlay.pop("sweep", {}).items():
        for key in reversed(setting.split(".")):
            values = {key: values[0] if isinstance(values, list) else values}
        overlay = laid_over(overlay, values)
    settings = read_settings(laid_over(read_yaml(ROOT / "config.yaml"), overlay))
    assert settings.study == overlay["study"]


def test_the_readme_shows_the_default_study():
    shown = read_settings(yaml.safe_load(blocks(ROOT / "README.md", "yaml")[0]))
    default = read_settings(read_yaml(ROOT / "config.yaml"))
    assert shown.graph.checkpoints == default.graph.checkpoints
    assert [stage.settings for stage in shown.graph] == [stage.settings for stage in default.graph]
    assert shown.story == default.story
    assert shown.task == default.task


def test_the_probe_measures(examples):
    kind = load_probe("mine/lengths.py")
    problems = pd.DataFrame({"problem": ["a", "b"], "group": "g", "subsets": ""})
    episodes = pd.DataFrame({"problem": ["b", "a"], "reply": ["four", "twenty characters are"]})
    probed = Probed(
        settings=kind.Settings(unit=2),
        task=None,
        play=None,
        problems=problems,
        seed=0,
        max_new_tokens=1,
        episodes=episodes,
        dtype=torch.float32,
    )
    assert kind.PROBE.reads == "episodes"
    assert list(kind.measure(probed)["length"]) == [10.5, 2.0]


def test_the_method_trains(examples):
    """And its loss falls; with gamma 0 it starts from the loss of plain SFT."""
    task_settings = load_task("general_points").Settings()
    dealing = task_settings.deal("demonstrations")
    problems = task_class("general_points").make_split("demonstrations", dealing, 256, 0, {})
    task = make_task(task_settings.play("demonstrations"))
    torch.manual_seed(0)
    tokenizer = make_tokenizer(task.words)
    architecture = ArchitectureSettings(hidden_size=16, layers=1, heads=2, intermediate_size=16)
    save_checkpoint(make_model(len(tokenizer), architecture), tokenizer, examples / "base")
    method, settings = load_settings("mine/focal.py")
    trained = load_train("mine/focal.py")(
        Run(
            start=examples / "base",
            task=task,
            skills=None,
            problems=problems,
            settings=settings(steps=40, learning_rate=1e-2, gamma=0.0),
            keep=(2, 40),
            seed=0,
            work=examples / "work",
            key="",
            dtype=torch.float32,
            max_reply_tokens=18,
            generate=None,
            progress=lambda steps, *_: steps,
            device="cpu",
        )
    )
    assert set(trained.tables) == set(method.tables)
    loss = trained.tables["losses"]["train_loss"]
    assert loss.iloc[0] == pytest.approx(torch.log(torch.tensor(float(len(tokenizer)))), abs=0.5)
    assert loss.iloc[-5:].mean() < loss.iloc[0] - 0.1  # with what the embedding and head were
    kept = {step: load_model(folder) for step, folder in trained.checkpoints.items()}
    assert set(kept) == {2, 40}
    before, after = load_model(examples / "base"), kept[40]
    assert torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)


def test_the_paper_judges_its_claim(examples):
    module = load_paper("mine/focal_paper.py")
    solved = {"focal": 6, "plain": 4}
    scores = pd.DataFrame(
        [
            (0, arm, "test", shift, hand, hand, hand < count)
            for arm, count in solved.items()
            for shift in ("id", "ood")
            for hand in range(10)
        ],
        columns=["seed", "checkpoint", "role", "shift", "group", "problem", "valid"],
    )
    story = Story(path=("base",), path_label="SFT", labels={}, arms={arm: arm for arm in solved})
    ours, ood = module.findings({"scores": scores}, story)
    assert ours.statement == "SFT with a focal loss solves more than plain SFT, ID"
    assert (ours.estimate, ood.estimate) == (pytest.approx(20), pytest.approx(20))
    assert "\nHeld against a study" in page(module.PAPER, findings_table([ours, ood]), "x", {}, {})


@pytest.fixture
def two_models(tmp_path, monkeypatch):
    """A folder with what the examples of docs/python.md are given."""
    tokenizer = make_tokenizer(
        make_task(load_task("general_points").Settings().play("id_test")).words
    )
    architecture = ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=16)
    for seed, name in enumerate(["anchor", "target"]):
        torch.manual_seed(seed)
        save_checkpoint(make_model(len(tokenizer), architecture), tokenizer, tmp_path / name)
    (tmp_path / "text.txt").write_text("\n\n".join(["cards 3 4", "1 + 2", "( 5 - 6 )", "3 * 4"]))
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_calls_from_python(two_models, capsys):
    """The examples of docs/python.md, one after the other, and all names that it lists."""
    page = ROOT / "docs/python.md"
    namespace: dict[str, object] = {}
    for number, text in enumerate(blocks(page, "python")):
        exec(compile(text, f"{page.name}, example {number}", "exec"), namespace)
    assert {"directions", "average", "chosen"} <= {path.name for path in two_models.iterdir()}
    assert "Chosen on every other document of the text" in capsys.readouterr().out
    listed, *_ = page.read_text(encoding="utf-8").split("\n## ")
    names = re.findall(r"`(\w+)\(|an? `(\w+)`|^\| `(\w+)` ", listed, re.M)
    assert {"".join(found) for found in names} == set(svdrift.__all__)


def test_the_notebook_draws(monkeypatch, tmp_path):
    """Its cells one after the other, each figure looked at for lines and points."""
    import matplotlib.pyplot as plt

    notebook = json.loads((ROOT / "docs/study-tables.ipynb").read_text(encoding="utf-8"))
    monkeypatch.chdir(ROOT / "docs")
    drawn = []

    def show():
        drawn.append([len(axis.lines) for axis in plt.gcf().axes])
        plt.close("all")

    monkeypatch.setattr(plt, "show", show)
    namespace: dict[str, object] = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # none that could be stale
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
    assert drawn[0] == [6, 6]  # five seeds and their mean
    assert len(namespace["best"]) == 10
    assert drawn[1][0] >= 2


def test_the_kind_replaces_left_directions_alone(examples):
    rng = torch.Generator().manual_seed(0)
    old, new = (torch.randn(6, 4, generator=rng) for _ in range(2))
    target, anchor = (Factors(*torch.linalg.svd(w, full_matrices=False)) for w in (old, new))
    repaired = changed(old, target, anchor, "mine/left.py", rng)
    torch.testing.assert_close(repaired, anchor.U @ torch.diag(target.S) @ target.Vh)
