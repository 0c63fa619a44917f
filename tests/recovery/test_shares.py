"""A share of the ranks for each matrix: how it is read, checked and applied."""

import json
from pathlib import Path

import pytest
import torch

from svdrift.errors import UserError
from svdrift.recovery.apply import recover_tensors
from svdrift.recovery.grid import expand, from_json, to_json
from svdrift.recovery.interventions import Intervention
from svdrift.recovery.shares import matrix_name, read_shares
from svdrift.spectra.decomposition import Decomposed
from tests.spectra.synthetic import llama, moved, save

SHARES = {"0.q": 0.25, "embedding": 0, "1.down": 1.0}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Decomposed, Decomposed]:
    folder = tmp_path_factory.mktemp("shares")
    return save(llama(0), folder / "target"), save(moved(llama(0), 1), folder / "anchor")


def per_matrix(shares: object, **others: object) -> Intervention:
    return Intervention("per_matrix", shares=shares, **others)  # type: ignore[arg-type]


def test_a_mapping_a_file_and_what_was_read_agree(tmp_path: Path) -> None:
    file = tmp_path / "shares.json"
    file.write_text(json.dumps(SHARES))
    found = read_shares(SHARES)
    assert found == (("0.q", 0.25), ("1.down", 1.0), ("embedding", 0.0))
    assert read_shares(str(file)) == read_shares(found) == found
    (chosen,) = expand([{"kind": "per_matrix", "shares": str(file)}])
    assert chosen == per_matrix(SHARES)
    assert from_json(to_json(chosen)) == chosen
    assert chosen.id == per_matrix(dict(reversed(SHARES.items()))).id
    assert chosen.id != per_matrix(SHARES | {"0.q": 0.26}).id


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "shares: a mapping"),
        ([0.2], "shares: a mapping"),
        (0.2, "shares: a mapping"),
        ({"0.q": 1.5}, "not '0.q': 1.5"),
        ({"0.q": True}, "not '0.q': true"),
        ({0: 0.5}, "not 0: 0.5"),
        ("none.json", "shares: none.json: No such file"),
    ],
)
def test_refuses_what_is_no_mapping_of_shares(given: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_shares(given)


def test_refuses_a_file_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("q: 0.2")
    with pytest.raises(UserError, match="not JSON"):
        read_shares(str(tmp_path / "text.json"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "per_matrix"}, "shares: per_matrix needs one for each matrix"),
        ({"kind": "directions", "shares": SHARES}, "shares: directions has none"),
        ({"kind": "per_matrix", "shares": SHARES, "top": 0.2}, "top, bottom: per_matrix has"),
    ],
)
def test_refuses_shares_that_do_not_fit_the_kind(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Intervention(**wrong)  # type: ignore[arg-type]


def test_every_matrix_is_repaired_by_its_own_share(two: tuple[Decomposed, Decomposed]) -> None:
    cycle = (0.0, 0.2, 0.5, 1.0)
    keys = list(two[0].factors.matrices)
    shares = {matrix_name(*key): cycle[i % 4] for i, key in enumerate(keys)}
    made = dict(recover_tensors(*two, per_matrix(shares)))
    by_share = {
        share: dict(recover_tensors(*two, Intervention("directions", top=share))) for share in cycle
    }
    for key in keys:
        name = two[0].factors.matrices[key].name
        assert torch.equal(made[name], by_share[shares[matrix_name(*key)]][name])


def test_shares_fit_the_matrices(two: tuple[Decomposed, Decomposed]) -> None:
    shares = {matrix_name(*key): 0.2 for key in two[0].factors.matrices}
    some = {name: share for name, share in shares.items() if not name.startswith("0.")}
    with pytest.raises(UserError, match=r"no share for: 0\.down, 0\.gate"):
        recover_tensors(*two, per_matrix(some))
    with pytest.raises(UserError, match=r"not repaired, or not there,: 99\.q"):
        recover_tensors(*two, per_matrix(shares | {"99.q": 0.2}))
    assert len(dict(recover_tensors(*two, per_matrix(some, layers=(0.5, 1.0))))) > 0
