from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.linalg import subspace_angles

from svdrift.errors import UserError
from svdrift.spectra.comparison import grouped, matrix_changes
from svdrift.spectra.decomposition import Decomposed, decompose
from svdrift.spectra.drift import Drift, drift_tables, value_change_rows
from svdrift.spectra.moved import moved as which_moved
from svdrift.spectra.nulls import NULLS, draw
from svdrift.spectra.tables import matrix_rows, spectrum_rows
from svdrift.spectra.updates import update_rows
from tests.spectra.synthetic import llama, moved, save

SHARES, WINDOWS = (0.25, 0.5), 4
Three = tuple[Decomposed, Decomposed, Decomposed]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Three:
    """Base; base + update; that update half undone. One q projection stays as it was."""
    folder = tmp_path_factory.mktemp("drift")
    base = llama(0)
    first, second = moved(llama(0), 1), moved(llama(0), 1)
    with torch.no_grad():
        for model in (first, second):
            frozen = base.model.layers[0].self_attn.q_proj.weight
            model.model.layers[0].self_attn.q_proj.weight.copy_(frozen)
        for one, two in zip(base.parameters(), second.parameters(), strict=True):
            two.copy_(0.5 * one + 0.5 * two)
    return (
        save(base, folder / "base"),
        save(first, folder / "first"),
        save(second, folder / "second"),
    )


@pytest.fixture(scope="module")
def tables(three: Three) -> Drift:
    sizes = {"shares": SHARES, "windows": WINDOWS, "draws": 4}
    return drift_tables(three[0], three[1], **sizes, nulls=tuple(NULLS), seed=0)


@pytest.fixture(scope="module")
def table(tables: Drift) -> pd.DataFrame:
    return tables.drift


def pick(table: pd.DataFrame, **where: object) -> pd.Series:
    rows = table
    for column, value in where.items():
        rows = rows[(rows[column] == value).fillna(False)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_one_row_per_number(table: pd.DataFrame) -> None:
    key = ["layer", "module", "measure", "side", "region", "start", "stop"]
    assert not table.duplicated(key).any()
    # per matrix: 2 sides × 2 ends × 2 shares × 3, 2 sides × 4 windows × 2, 5 whole, 3 sides × 2
    assert len(table) == 30 * (24 + 16 + 5 + 6)
    assert table["layer"].isna().sum() == 2 * 51
    assert table["observed"].notna().sum() >= len(table) - 51


def test_columns_of_nulls_are_those_of_their_draws(tables: Drift) -> None:
    key = ["layer", "module", "measure", "side", "region", "start", "stop"]
    assert not tables.nulls.duplicated([*key, "draw"]).any()
    assert len(tables.nulls) == 4 * len(tables.drift)
    drawn = tables.nulls.groupby(key, dropna=False, sort=False)
    for null in NULLS:
        assert drawn[null].mean().to_numpy() == pytest.approx(
            tables.drift[null].to_numpy(), nan_ok=True
        )
        factor = stats.t.isf(0.025, 3) * np.sqrt(1 + 1 / 4)
        half = tables.drift[f"minus_{null}_high"] - tables.drift[f"minus_{null}"]
        assert half.to_numpy() == pytest.approx(
            factor * drawn[null].std(ddof=1).to_numpy(), nan_ok=True, abs=1e-12
        )


def test_a_draw_is_decomposed_as_one_matrix_is(three: Three, tables: Drift) -> None:
    """The stacked computation against one draw at a time, from the weights alone."""
    for key, null in (((1, "up"), "inputs_kept"), ((2, "down"), "signs_randomised")):
        before = decompose(three[0].weight(key)).double()
        weight = three[0].weight(key).double()
        update = three[1].weight(key).double() - weight
        drawn = weight + draw(null, update, before, 0, key, 2)
        u, _, _ = torch.linalg.svd(drawn, full_matrices=False)
        angle = np.rad2deg(subspace_angles(before.U[:, :4], u[:, :4])).mean()
        where = {"layer": key[0], "module": key[1], "measure": "mean_angle", "side": "left"}
        row = pick(tables.nulls, **where, region="top", k=4, draw=2)
        assert row[null] == pytest.approx(angle, abs=1e-5)


def test_energy_of_noise_lies_evenly(table: pd.DataFrame) -> None:
    rows = table[(table["measure"] == "energy_top") & (table["module"] == "up")]
    rows = rows[rows["k"] == 4].groupby("side")["isotropic"].mean()
    assert rows["left"] == pytest.approx(4 / 24, rel=0.2)  # 24 × 16
    assert rows["right"] == pytest.approx(4 / 16, rel=0.2)
    assert rows["both"] == pytest.approx(16 / (24 * 16), rel=0.3)


def test_signs_leave_energy_where_it_lies(table: pd.DataFrame) -> None:
    rows = table[table["measure"].str.startswith("energy") & table["observed"].notna()]
    rows = rows[(rows["side"] == "both")]
    assert rows["signs_randomised"].to_numpy() == pytest.approx(rows["observed"].to_numpy())


def test_observed_angles_against_scipy_on_the_weights(three: Three, table: pd.DataFrame) -> None:
    u, v = (
        torch.linalg.svd(d.weight((2, "down")).double(), full_matrices=False) for d in three[:2]
    )
    for region, begin, end in (("top", 0, 4), ("bottom", 12, 16)):
        for side, a, b in (("left", u[0], v[0]), ("right", u[2].T, v[2].T)):
            angles = np.rad2deg(subspace_angles(a[:, begin:end], b[:, begin:end]))
            where = {"layer": 2, "module": "down", "side": side, "region": region, "k": 4}
            mean = pick(table, measure="mean_angle", **where)["observed"]
            largest = pick(table, measure="max_angle", **where)["observed"]
            assert (mean, largest) == pytest.approx((angles.mean(), angles.max()), abs=1e-3)
            sine = np.sqrt(np.mean(np.sin(np.deg2rad(angles)) ** 2))
            chordal = pick(table, measure="chordal", **where)["observed"]
            assert chordal == pytest.approx(2 * sine, abs=1e-5)
            where = {**where, "region": "window"}
            where |= {"start": begin / 16, "measure": "window_angle"}
            assert pick(table, **where)["observed"] == pytest.approx(
                np.rad2deg(np.arcsin(sine)), abs=1e-3
            )


def test_value_change_and_norm(three: Three, table: pd.DataFrame) -> None:
    a, b = (d.weight((1, "k")).double() for d in three[:2])
    s, t = torch.linalg.svdvals(a), torch.linalg.svdvals(b)
    where = {"layer": 1, "module": "k"}
    change = pick(table, measure="value_change", **where)["observed"]
    assert change == pytest.approx(((t - s).norm() / s.norm()).item(), rel=1e-4)
    norm = pick(table, measure="update_norm", **where)
    assert norm["observed"] == pytest.approx(((b - a).norm() / a.norm()).item(), rel=1e-5)
    assert norm["minus_isotropic"] == pytest.approx(0, abs=1e-9)


def test_isotropic_updates_lie_within_their_null(table: pd.DataFrame) -> None:
    """The update here is isotropic Gaussian: its intervals must hold 0 in most rows."""
    moved_rows = table[~((table["layer"] == 0) & (table["module"] == "q")).fillna(False)]
    rows = moved_rows[moved_rows["measure"] == "mean_angle"]
    held = (rows["minus_isotropic_low"] <= 0) & (rows["minus_isotropic_high"] >= 0)
    assert 0.9 < held.mean() < 1
    assert (rows["minus_random_high"] < 0).mean() > 0.8  # and far from unrelated


def test_update_of_the_leading_direction_exceeds_its_null(tmp_path: Path) -> None:
    """The leading left vector, well apart, turned by 10 degrees and nothing else."""
    before, after = llama(0), llama(0)
    turn = np.deg2rad(10)
    with torch.no_grad():
        for one, two in zip(before.parameters(), after.parameters(), strict=True):
            if one.ndim == 2:
                u, s, vh = torch.linalg.svd(one, full_matrices=False)
                s[0] *= 3
                one.copy_(u * s @ vh)
                u[:, 0], u[:, -1] = (
                    u[:, 0] * np.cos(turn) + u[:, -1] * np.sin(turn),
                    u[:, -1] * np.cos(turn) - u[:, 0] * np.sin(turn),
                )
                two.copy_(u * s @ vh)
    pair = save(before, tmp_path / "before"), save(after, tmp_path / "after")
    rows, _ = drift_tables(*pair, shares=(0.05,), windows=2, nulls=["isotropic"], draws=6, seed=0)
    top = rows[(rows["measure"] == "mean_angle") & (rows["region"] == "top") & (rows["k"] == 1)]
    left, right = top[top["side"] == "left"], top[top["side"] == "right"]
    assert left["observed"].to_numpy() == pytest.approx(np.full(len(left), 10), abs=0.01)
    assert right["observed"].to_numpy() == pytest.approx(np.zeros(len(right)), abs=0.01)
    assert left["minus_isotropic_low"].gt(0).all()
    assert right["minus_isotropic_high"].lt(0).all()


def test_frozen_matrix_has_no_drift_and_no_null_drift(table: pd.DataFrame) -> None:
    rows = table[((table["layer"] == 0) & (table["module"] == "q")).fillna(False)]
    angles = rows[rows["measure"].isin(["mean_angle", "max_angle", "window_angle"])]
    assert angles[["observed", "isotropic"]].to_numpy() == pytest.approx(0, abs=1e-4)
    energies = rows[rows["measure"].str.startswith("energy")]
    assert energies["observed"].isna().all()


def test_gap_is_the_one_at_the_edge(three: Three, table: pd.DataFrame) -> None:
    a, b = (d.weight((1, "q")).double() for d in three[:2])
    s, spectral = torch.linalg.svdvals(a), torch.linalg.matrix_norm(b - a, 2)
    where = {"layer": 1, "module": "q", "side": "left", "measure": "mean_angle", "k": 4}
    expected = ((s[3] - s[4]) / spectral).item()
    assert pick(table, region="top", **where)["gap"] == pytest.approx(expected, rel=1e-3)


def test_second_update_undoes_half_of_the_first(three: Three) -> None:
    rows = update_rows(*three, shares=(0.25,), draws=8, seed=0)
    undone = rows[(rows["measure"] == "undone") & ~((rows["layer"] == 0) & (rows["module"] == "q"))]
    assert undone["observed"].to_numpy() == pytest.approx(np.full(29, 0.5), abs=1e-5)
    assert (undone["minus_random_low"] > 0).all()
    cosine = pick(rows, layer=1, module="q", measure="cosine")
    assert cosine["observed"] == pytest.approx(-1, abs=1e-5)
    angles = rows[(rows["measure"] == "mean_angle") & (rows["layer"] > 0)]
    assert angles["observed"].to_numpy() == pytest.approx(0, abs=1e-2)
    assert (angles["minus_random_high"] < 0).mean() > 0.9
    frozen = rows[(rows["layer"] == 0) & (rows["module"] == "q")]
    assert frozen["observed"].isna().all()
    base, first, _ = three  # nor is there anything to compare where the second update is none
    still = update_rows(base, first, first, shares=(0.25,), draws=2, seed=0)
    assert still["observed"].isna().all()


def test_tables_of_spectra(three: Three) -> None:
    spectra = spectrum_rows(three[0].factors)
    assert len(spectra) == sum(m.rank for m in three[0].weights.matrices)
    one = spectra[(spectra["layer"] == 1) & (spectra["module"] == "q")]
    expected = torch.linalg.svdvals(three[0].weight((1, "q")).double()).numpy()
    assert one["value"].to_numpy() == pytest.approx(expected, rel=1e-5)
    assert one["law"].to_numpy() == pytest.approx(expected, abs=0.15)  # it is random
    changes = value_change_rows(three[0].factors, three[1].factors)
    assert (changes["value_after"] - changes["value_before"]).to_numpy() == pytest.approx(
        changes["change"].to_numpy(), abs=1e-6
    )
    matrices = matrix_rows(three[0])
    assert len(matrices) == 30
    assert matrices["looks_random"].all()
    assert matrices["sigma"].to_numpy() == pytest.approx(0.2, rel=0.2)


def test_same_seed_same_draws_whatever_else_is_drawn(three: Three, table: pd.DataFrame) -> None:
    few = ("inputs_kept", "isotropic")
    sizes = {"shares": SHARES, "windows": WINDOWS, "draws": 4}
    again, _ = drift_tables(three[0], three[1], **sizes, nulls=few, seed=0)
    pd.testing.assert_frame_equal(table[sorted(again)], again[sorted(again)])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"shares": (0.0,)}, "shares"),
        ({"windows": 0}, "windows"),
        ({"draws": 1}, "draws"),
        ({"nulls": ["isotropic", "mine"]}, "'mine' is not known .allowed: isotropic, "),
        ({"nulls": ["inputs_kept"]}, "isotropic and others, each once"),
    ],
)
def test_refuses(three: Three, wrong: dict[str, object], says: str) -> None:
    right = {"shares": SHARES, "windows": WINDOWS, "nulls": ["isotropic"], "draws": 2, "seed": 0}
    with pytest.raises(UserError, match=says):
        drift_tables(three[0], three[1], **{**right, **wrong})  # type: ignore[arg-type]


ZEROED = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize("order", [1, -1])
def test_a_matrix_of_zeros_changes_without_any_angle(tmp_path: Path, order: int) -> None:
    model = llama(0)
    full = save(model, tmp_path / "full")
    with torch.no_grad():
        model.get_parameter(ZEROED).zero_()
        model.get_parameter("model.layers.0.mlp.up_proj.weight").mul_(1.1)
    empty = save(model, tmp_path / "empty")
    tables = drift_tables(
        *(full, empty)[::order], shares=[0.2], windows=2, nulls=["isotropic"], draws=2, seed=0
    )
    here = tables.drift[(tables.drift["layer"] == 1) & (tables.drift["module"] == "up")]
    found = here.set_index("measure")["observed"]
    on_directions = ["mean_angle", "max_angle", "chordal", "window_angle", "best_alignment"]
    assert found[on_directions].isna().all()
    norm = found["update_norm"]
    assert norm == (pytest.approx(1) if order > 0 else np.inf)
    labelled = tables.drift.assign(pair="p", seed=0)
    changed = which_moved(labelled)
    own = changed[(changed["layer"] == 1) & (changed["module"] == "up")]
    assert "update_norm" in set(own["measure"])
    assert not set(own["measure"]) & set(on_directions)
    rows = matrix_changes(tables.drift, tables.nulls).set_index(["layer", "module"])
    row = rows.loc[(1, "up")]
    assert (row["moved"], row["turned"]) == (1, 0)
    assert row[["angle", "isotropic", "excess"]].isna().all()
    assert (row["more_isotropic"], row["less_isotropic"]) == (0, 0)
    means = grouped(rows.reset_index()).select_dtypes("number").to_numpy()
    assert not np.isinf(means.astype(float)).any()
    whole = grouped(rows.reset_index()).iloc[-1]
    others = rows[rows["turned"] == 1]
    assert whole["isotropic"] == pytest.approx(others["isotropic"].mean(), nan_ok=True)
