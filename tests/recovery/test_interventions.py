from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svdrift.errors import UserError
from svdrift.recovery.interventions import Intervention


@pytest.mark.parametrize(
    ("intervention", "name"),
    [
        (Intervention("directions", top=0.2, layers=(0, 0.25)), "directions-top0.2-layers0-0.25"),
        (Intervention("directions"), "directions-top0"),
        (Intervention("values", top=1), "values-top1"),
        (Intervention("triplets", bottom=0.1), "triplets-bottom0.1"),
        (Intervention("interpolate", weight=0.5), "interpolate-weight0.5"),
        (
            Intervention("drop_and_rescale", weight=0.9, seed=2),
            "drop_and_rescale-weight0.9-seed2",
        ),
        (
            Intervention("reset", layers=(0.5, 1), embedding_and_head=False),
            "reset-layers0.5-1-inside",
        ),
        (
            Intervention("random_directions", top=0.1, modules=("q", "k"), seed=3),
            "random_directions-top0.1-q_k-seed3",
        ),
        (
            Intervention("directions", top=1, full_rank_reset=True),
            "directions-top1-published",
        ),
    ],
)
def test_id(intervention: Intervention, name: str) -> None:
    assert intervention.id == name


def test_ids_differ_with_every_choice() -> None:
    plain = Intervention("directions", top=0.2)
    others = [
        plain,
        replace(plain, kind="triplets"),
        replace(plain, top=0.25),
        replace(plain, top=0.2000001),
        replace(plain, bottom=0.2),
        replace(plain, top=0.0, bottom=0.2),
        replace(plain, layers=(0.0, 0.5)),
        replace(plain, layers=(0.5, 1.0)),
        replace(plain, modules=("q",)),
        replace(plain, embedding_and_head=False),
        replace(plain, full_rank_reset=True),
        replace(plain, kind="random_directions"),
        replace(plain, kind="random_directions", seed=1),
    ]
    for one, two in combinations(others, 2):
        assert one.id != two.id
        assert one.columns() != two.columns()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "rotate"}, "kind: 'rotate'"),
        ({"kind": "values", "top": 1.1}, "top, bottom"),
        ({"kind": "values", "top": -0.1}, "top, bottom"),
        ({"kind": "values", "top": 0.6, "bottom": 0.6}, "top, bottom"),
        ({"kind": "reset", "top": 0.5}, "reset takes whole matrices"),
        ({"kind": "reset", "layers": (0.5, 0.5)}, "layers"),
        ({"kind": "reset", "layers": (0.5, 1.5)}, "layers"),
        ({"kind": "interpolate"}, "weight"),
        ({"kind": "interpolate", "weight": 2.0}, "weight"),
        ({"kind": "reset", "weight": 0.5}, "weight"),
        ({"kind": "trim"}, "weight: trim needs one"),
        ({"kind": "trim", "weight": 0.5, "top": 0.2}, "trim takes whole matrices"),
        ({"kind": "scale_layers", "weight": 1.5}, "weight: from 0"),
        ({"kind": "restore_entries", "weight": 0.5, "seed": 1}, "seed: restore_entries draws"),
        ({"kind": "reset", "modules": ()}, "modules"),
        ({"kind": "reset", "modules": ("q", "q")}, "modules"),
        ({"kind": "triplets", "top": 1.0, "full_rank_reset": True}, "full_rank_reset"),
        ({"kind": "values", "seed": 1}, "seed"),
    ],
)
def test_refuses(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Intervention(**wrong)  # type: ignore[arg-type]


@given(st.integers(4, 100), st.lists(st.floats(0.01, 0.99), max_size=3))
def test_adjoining_blocks_cover_all_layers_once(depth: int, cuts: list[float]) -> None:
    found: list[int] = []
    for start, stop in pairwise([0.0, *sorted(set(cuts)), 1.0]):
        try:
            found += Intervention("reset", layers=(start, stop)).chosen_layers(depth)
        except UserError as error:
            assert "holds none" in str(error)  # noqa: PT017 (a narrow block may be empty)
    assert found == list(range(depth))


def test_quarter_of_four_layers_is_one() -> None:
    assert list(Intervention("reset", layers=(0, 0.25)).chosen_layers(4)) == [0]
    with pytest.raises(UserError, match="none of 4 layers"):
        Intervention("reset", layers=(0, 0.1)).chosen_layers(4)
