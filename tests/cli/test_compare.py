"""`svdrift compare`, against scipy's angles, known updates, and a count of memory."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.linalg import subspace_angles

from svdrift.api.comparing import compare
from svdrift.cli.compare import table_text
from svdrift.spectra.comparison import grouped, in_words, matrix_changes, on_average
from tests.cli.checkpoints import run, trained
from tests.recovery.test_architectures import EXPERTS, WIDE, make
from tests.spectra.synthetic import llama, moved

TURNED = "model.layers.2.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkpoints: one matrix has its vectors turned at constant values, one is scaled."""
    folder = tmp_path_factory.mktemp("pair")
    model = trained()
    model.save_pretrained(folder / "anchor", max_shard_size="4KB")
    with torch.no_grad():
        weight = model.get_parameter(TURNED)
        torch.manual_seed(5)
        weight.copy_(torch.linalg.qr(torch.randn(24, 24))[0] @ weight)
        model.get_parameter("model.layers.1.self_attn.v_proj.weight").mul_(1.5)
    model.save_pretrained(folder / "target")
    return folder / "anchor", folder / "target"


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def test_finds_what_turned_and_what_was_scaled(pair, monkeypatch, capsys):
    assert run(monkeypatch, "compare", *pair, "--json", "--ranks", 0.2) == 0
    said = report(capsys)
    # In the one any update of this size turns directions as far, in the other none has turned.
    assert said["verdict"]["which"] == "less far"
    assert said["verdict"]["matrices"] == [{"layer": 1, "module": "v"}]
    rows = {(row["layer"], row["module"]): row for row in said["matrices"]}
    assert len(rows) == 28
    assert {key for key, row in rows.items() if row["moved"]} == {(2, "up"), (1, "v")}
    turned, scaled = rows[2, "up"], rows[1, "v"]
    assert turned["value_change"] < 1e-6
    assert scaled["value_change"] == pytest.approx(0.5)
    assert scaled["update"] == pytest.approx(0.5)
    assert scaled["angle"] == pytest.approx(0, abs=1e-3)
    assert scaled["excess"] == pytest.approx(-scaled["isotropic"], abs=1e-3)
    assert (scaled["more_isotropic"], scaled["less_isotropic"]) == (0, 1)
    assert (scaled["more_inputs_kept"], scaled["less_inputs_kept"]) == (0, 1)
    assert rows[0, "q"]["angle"] is None

    # An independent measurement: left vectors turned by Q, right ones not at all.
    matrices = []
    for folder in pair:
        for file in folder.glob("*.safetensors"):
            with safe_open(file, "np") as tensors:
                matrices += [tensors.get_tensor(n) for n in tensors.keys() if n == TURNED]  # noqa: SIM118
    k = round(0.2 * 16)
    first, second = (np.linalg.svd(matrix.astype(float)) for matrix in matrices)
    left = np.degrees(subspace_angles(first.U[:, :k], second.U[:, :k])).mean()
    right = np.degrees(subspace_angles(first.Vh[:k].T, second.Vh[:k].T)).mean()
    assert right < 0.01
    assert turned["angle"] == pytest.approx((left + right) / 2, abs=1e-3)


def test_a_common_turn_is_found_where_it_is(tmp_path, monkeypatch, capsys):
    model = trained()
    model.save_pretrained(tmp_path / "anchor")
    with torch.no_grad():
        for module in ("gate", "up"):
            weight = model.get_parameter(f"model.layers.2.mlp.{module}_proj.weight")
            u, s, vh = torch.linalg.svd(weight, full_matrices=False)
            first, last = u[:, 0].clone(), u[:, 12].clone()
            turn = torch.tensor(0.3)
            u[:, 0], u[:, 12] = (
                turn.cos() * first + turn.sin() * last,
                turn.cos() * last - turn.sin() * first,
            )
            weight.copy_(u * s @ vh)
    model.save_pretrained(tmp_path / "target")
    pair = tmp_path / "anchor", tmp_path / "target"
    assert run(monkeypatch, "compare", *pair, "--json", "--ranks", "5%", "--draws", 20) == 0
    said = report(capsys)["verdict"]
    assert said["which"] == "further"
    assert "not clearly further than noise that keeps the update's inputs" in said["words"][0]
    turned = [{"layer": 2, "module": module} for module in ("gate", "up")]
    assert said["matrices"]  # each has to stand out by itself from skewed noise
    assert all(matrix in turned for matrix in said["matrices"])
    given = shlex.join(["--anchor", str(pair[0]), "--target", str(pair[1])])
    then = "--ranks 20% --layers 50-75% --layers-only --out REPAIRED"
    assert said["next"][1] == f"svdrift recover {given} {then}"
    assert run(monkeypatch, "compare", *pair, "--ranks", "5%", "--nulls", "isotropic") == 0
    assert (
        "Not tested: whether they turned together, or only where the update's energy lies "
        "(--nulls isotropic signs_randomised).\n"
    ) in capsys.readouterr().out


def test_noise_does_not_turn_more_than_noise(tmp_path, monkeypatch, capsys):
    trained().save_pretrained(tmp_path / "anchor")
    moved(trained(), 1).save_pretrained(tmp_path / "target")
    assert run(monkeypatch, "compare", tmp_path / "anchor", tmp_path / "target", "--json") == 0
    said = report(capsys)
    assert said["verdict"]["which"] == "noise"
    assert "--kind interpolate" in said["verdict"]["next"][0]
    whole = said["groups"][-1]
    assert whole["moved"] == 28
    for null in ("isotropic", "inputs_kept"):  # 28/20 are expected; more than 4 in 5 % of runs
        assert whole[f"more_{null}"] + whole[f"less_{null}"] <= 4
    assert abs(whole["excess"]) < 1


def test_table_and_words_for_people(pair, monkeypatch, capsys):
    monkeypatch.setattr("svdrift.scripting.LOG_INTERVAL_S", 0)
    assert run(monkeypatch, "compare", *pair) == 0
    said, progress = capsys.readouterr()
    assert re.search(r"^matrices compared: 28/28, \S+ elapsed, \S+ left$", progress, re.MULTILINE)
    assert "2 of 28 matrices changed" in said
    assert "Largest angle minus isotropic noise: up (" in said
    assert "by kind, layer 2 (" in said
    assert "Not compared (--json names all):\n- norms and biases in the layers: 8, " in said
    assert "- outside the layers: 3, 10.8 % of the weights; none differs\n" in said
    table = said.split("\n\n")
    assert [line.split()[0] for line in table[0].splitlines()[1:]] == [
        *("q", "k", "v", "o", "gate", "up", "down")
    ]
    assert table[2].split()[:2] == ["all", "2/28"]
    assert table[-1].startswith("Verdict: directions turned less far than isotropic noise ")
    *_, ability, then = table[-1].splitlines()
    assert ability.startswith("Whether an ability was lost, angles do not tell: svdrift evaluate ")
    assert then.startswith("Next: svdrift recover --anchor ")
    assert " --kind interpolate --weight 0.5 " in then
    assert max(map(len, "\n".join(table[:3]).splitlines())) <= 100


def measured(beyond: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drift of two matrices, and three draws of each of two nulls.

    Args:
        beyond: degrees by which all angles exceed the second null.
    """
    numbers = (
        ("mean_angle", "left", 11.0),
        ("mean_angle", "right", 13.0),
        ("value_change", "both", 0.25),
        ("update_norm", "both", 0.1),
        ("energy_top", "both", 0.06),
    )
    rows = [
        {"layer": layer, "module": "q", "measure": measure, "region": "top", "side": side}
        | {"start": 0.0, "stop": 0.1, "observed": value + layer, "isotropic": value / 3}
        | {"random": 81.5}
        for layer in (0, 1)
        for measure, side, value in numbers
    ]
    place = ["layer", "module", "measure", "region", "side", "start", "stop"]
    drift = pd.DataFrame(rows).astype({"layer": "Int64"})
    nulls = pd.concat(
        [
            drift[place].assign(
                draw=draw,
                isotropic=drift["isotropic"] + off,
                inputs_kept=drift["observed"] + 5 * off - beyond,
            )
            for draw, off in enumerate((-0.1, 0.0, 0.1))
        ],
        ignore_index=True,
    )
    return drift, nulls


def test_words_say_which_null_and_hold_the_numbers_of_the_table():
    drift, nulls = measured()
    groups = grouped(matrix_changes(drift, nulls))
    words = in_words(groups, on_average(drift, nulls), 0.1)
    assert words == [
        "2 of 2 matrices changed, by 60 % of their norm.",
        "Their top 10 % of directions turned by 12.5° on average (between unrelated matrices lie "
        "81.5°):",
        "- further than isotropic noise of the update's size, 4.0° (+8.5° [8.3, 8.7]); 2 of 2 "
        "matrices turned further, 0 less far.",
        "- not clearly further or less far than noise that keeps the update's inputs, 12.5° "
        "(+0.0° [-1.1, 1.1]); 0 of 2 matrices turned further, 0 less far.",
        "56 % of the update's energy lies in these directions; spread evenly, 2 % would.",
        "Largest angle minus isotropic noise: q (+8.5°) by kind, layer 1 (+9.0°) by place.",
        "Singular values changed by 75 %; isotropic noise changes them by 8.33 %.",
    ]
    text = table_text(groups)
    first, *_, last = (" ".join(line.split()) for line in text.splitlines())
    assert first == "moved update angle isotropic +/- inputs kept +/- values by noise"
    assert last == "all 2/2 60 % 12.5° 4.0° 2/0 12.5° 0/0 75 % 8.33 %"


@pytest.mark.parametrize(
    ("beyond", "said", "cell"),
    [(8.0, "- further than", "2/0"), (-8.0, "- less far than", "0/2")],
)
def test_each_null_has_its_own_verdict(beyond: float, said: str, cell: str) -> None:
    drift, nulls = measured(beyond)
    groups = grouped(matrix_changes(drift, nulls))
    words = in_words(groups, on_average(drift, nulls), 0.1)
    assert words[2].startswith("- further than isotropic noise")
    assert words[3].startswith(f"{said} noise that keeps the update's inputs, {12.5 - beyond:.1f}°")
    assert table_text(groups).splitlines()[-1].split()[8] == cell


def test_equal_checkpoints(pair, monkeypatch, capsys, tmp_path):
    figure = tmp_path / "figure.png"
    assert run(monkeypatch, "compare", pair[0], pair[0], "--draws", 2, "--figure", figure) == 0
    said = capsys.readouterr()
    assert "None of the 28 matrices compared changed." in said.out
    assert "not drawn" in said.err
    assert not figure.exists()


def test_figure(pair, monkeypatch, tmp_path):
    figure = tmp_path / "figure.png"
    assert run(monkeypatch, "compare", *pair, "--draws", 2, "--figure", figure) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(tmp_path / "figure.csv")
    assert set(table["module"]) == {"up", "v"}
    assert not table["panel"].str.contains("\n").any()


def test_size_and_time_are_said_first(pair, monkeypatch, capsys):
    assert run(monkeypatch, "compare", *pair, "--dry-run", "--draws", 3) == 0
    said = capsys.readouterr()
    assert re.fullmatch(
        r"28 matrices of up to 24 × 16, 0\.0 million weights, 3 draws of each of 2 noises: "
        r"about \d+ s with 1 thread, if the machine is idle\n",
        said.err,
    )
    assert said.out == "Nothing was compared (--dry-run).\n"


def test_random_matrices_are_a_problem(pair, monkeypatch, capsys, tmp_path):
    llama(3).save_pretrained(tmp_path / "random")
    assert run(monkeypatch, "compare", pair[0], tmp_path / "random", "--draws", 2) == 1
    assert "WARNING: 28 matrices of the target look never trained" in capsys.readouterr().out


def test_outside_layers_if_named(monkeypatch, capsys, tmp_path):
    pair = tmp_path / "anchor", tmp_path / "target"
    models = trained(), moved(trained(), 1)
    for folder, model in zip(pair, models, strict=True):
        model.save_pretrained(folder)
    assert run(monkeypatch, "compare", *pair, "--json", "--modules", "embedding", "q") == 0
    said = report(capsys)
    assert {row["module"] for row in said["matrices"]} == {"embedding", "q"}
    (embedding,) = (row for row in said["matrices"] if row["module"] == "embedding")
    before, after = (model.get_input_embeddings().weight.detach() for model in models)
    assert embedding["moved"] == 1
    assert embedding["update"] == pytest.approx(((after - before).norm() / before.norm()).item())
    assert "outside layers" in {row["group"] for row in said["groups"]}
    assert "lm_head.weight" in {row["name"] for row in said["not_compared"]}
    figure = tmp_path / "figure.png"
    assert run(monkeypatch, "compare", *pair, "--modules", "embedding", "--figure", figure) == 0
    assert "not drawn, because nothing in the layers changed" in capsys.readouterr().err


def test_files_are_read_strictly(pair, monkeypatch, capsys, tmp_path):
    folder = shutil.copytree(pair[0], tmp_path / "anchor")
    first, last = (sorted(folder.glob("*.safetensors"))[i] for i in (0, -1))
    name, tensor = next(iter(load_file(first).items()))
    save_file(load_file(last) | {name: torch.zeros_like(tensor)}, last)
    assert run(monkeypatch, "compare", folder, pair[1]) == 2
    said = capsys.readouterr().err
    assert f"in {last.name} and another shard: {name}" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--modules", "z"], "--modules: 'z' is not known (allowed: q, k"),
        (["--ranks", "20"], "--ranks: a share from 0 to 1 such as 0.2, or percent such as 20%"),
        (["--ranks", "0"], "--ranks: a share of the rank above 0"),
        (["--draws", "1"], "--draws: an interval needs at least 2"),
        (["--threads", "0"], "--threads: from 1 to "),
        (["--nulls", "inputs_kept"], "--nulls: isotropic and others, each once"),
        (["--nulls", "isotropic", "white"], "--nulls: 'white' is not known (allowed: isotropic, "),
        (["--figure", "f.jpg"], "does not end in .png"),
        (["--device", "abacus"], "--device: 'abacus' cannot be used here"),
        (["--device", "meta"], "--device: 'meta' cannot be used here"),
    ],
)
def test_refuses_arguments(pair, monkeypatch, capsys, arguments, says):
    assert run(monkeypatch, "compare", *pair, *arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert says in said[0]


def test_refuses_folders(pair, monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, "compare", pair[0], tmp_path / "nowhere") == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled/config.json").write_text("{}")
    torch.save({}, tmp_path / "pickled/pytorch_model.bin")
    assert run(monkeypatch, "compare", pair[0], tmp_path / "pickled") == 2
    assert "pickled weights are refused" in capsys.readouterr().err
    broken = trained()
    torch.nn.init.constant_(broken.get_parameter(TURNED), float("nan"))
    broken.save_pretrained(tmp_path / "broken")
    assert run(monkeypatch, "compare", pair[0], tmp_path / "broken") == 2
    assert f"{TURNED} holds NaN" in capsys.readouterr().err
    quantised = load_file(pair[1] / "model.safetensors")
    quantised[TURNED] = quantised[TURNED].to(torch.int8)
    (tmp_path / "quantised").mkdir()
    (tmp_path / "quantised/config.json").write_text("{}")
    save_file(quantised, tmp_path / "quantised/model.safetensors")
    assert run(monkeypatch, "compare", pair[0], tmp_path / "quantised") == 2
    assert f"{TURNED} is of type I8" in capsys.readouterr().err


def test_experts_are_matrices_of_one_kind(monkeypatch, capsys, tmp_path):
    """One row of the table, one column of the figure; a matrix each in all numbers."""
    sizes = {**EXPERTS, **WIDE, "num_experts": 3}
    folders = [make(tmp_path / str(i), "Qwen3Moe", sizes, i, stacked=bool(i)) for i in (0, 1)]
    how = ["--draws", 2, "--json", "--figure", tmp_path / "figure.png"]
    run(monkeypatch, "compare", *folders, *how)
    said = json.loads(capsys.readouterr().out)
    matrices = pd.DataFrame(said["matrices"])
    ups = matrices[matrices["module"].str.fullmatch(r"experts\.\d\.up")]
    assert len(ups) == 9  # of three layers
    (row,) = (one for one in said["groups"] if one["group"] == "experts.up")
    assert row["matrices"] == 9
    assert row["angle"] == pytest.approx(ups["angle"].mean())
    drift = compare(*folders, draws=2).drift
    where = (drift["measure"] == "mean_angle") & (drift["side"] == "left") & (drift["layer"] == 1)
    wanted = drift[where & drift["module"].str.fullmatch(r"experts\.\d\.up")]["minus_isotropic"]
    table = pd.read_csv(tmp_path / "figure.csv")
    drawn = table[(table["module"] == "experts.up") & (table["layer"] == 1)]
    drawn = drawn[drawn["panel"].str.contains(r"\(U\)") & (drawn["seed"] == "mean")]
    assert drawn["value"].tolist() == [pytest.approx(wanted.mean())]
    assert not table["module"].str.contains(r"experts\.\d").any()


def test_what_a_layout_knows_is_of_a_known_kind(monkeypatch, capsys, tmp_path):
    """Though not among the modules that were asked for."""
    folders = [make(tmp_path / str(i), "GPT2", {}, i) for i in (0, 1)]
    run(monkeypatch, "compare", *folders, "--draws", 2, "--modules", "q")
    said = capsys.readouterr().out
    assert "- matrices in the layers, of known kinds: 15, " in said
    assert "not known" not in said


def test_the_next_command_has_the_patterns_that_were_given(monkeypatch, capsys, tmp_path):
    folders = [make(tmp_path / str(i), "GPT2", {}, i) for i in (0, 1)]
    given = r"fc=transformer\.h\.{layer}\.mlp\.c_fc\.weight"
    run(monkeypatch, "compare", *folders, "--draws", 2, "--patterns", given)
    lines = [one for one in capsys.readouterr().out.splitlines() if one.startswith("Next: ")]
    assert lines
    assert all(f" --patterns '{given}' " in line for line in lines)
