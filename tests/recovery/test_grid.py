import pytest

from svdrift.errors import UserError
from svdrift.recovery.grid import expand, from_json, to_json
from svdrift.recovery.interventions import Intervention


def test_a_row_stands_for_every_combination() -> None:
    found = expand(
        [
            {"kind": "directions", "top": [0.2, 1], "layers": [[0, 0.5], [0.5, 1]]},
            {"kind": ["values", "triplets"], "top": 0.1, "modules": ["q", "k"]},
            {"kind": "reset", "modules": [["q"], ["k", "v"]], "layers": [0, 0.25]},
        ]
    )
    assert found == (
        Intervention("directions", top=0.2, layers=(0, 0.5)),
        Intervention("directions", top=0.2, layers=(0.5, 1)),
        Intervention("directions", top=1, layers=(0, 0.5)),
        Intervention("directions", top=1, layers=(0.5, 1)),
        Intervention("values", top=0.1, modules=("q", "k")),
        Intervention("triplets", top=0.1, modules=("q", "k")),
        Intervention("reset", modules=("q",), layers=(0, 0.25)),
        Intervention("reset", modules=("k", "v"), layers=(0, 0.25)),
    )


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"kind": "rotations"},
            "kind: 'rotations' is unknown, did you mean 'directions'\\? \\(allowed: directions, ",
        ),
        (
            {"kind": "directions", "tip": 1},
            r"unknown key 'tip', did you mean 'top'\? \(allowed: kind, top",
        ),
        ({"kind": "directions", "top": [0.5, 2]}, "shares of the rank from 0 to 1"),
        ({"kind": "directions", "top": "half"}, "key 'top' must be a number, not 'half'"),
        ({"kind": "directions", "top": True}, "key 'top' must be a number, not true"),
        ({"kind": "random_directions", "top": 1, "seed": -1}, "'seed' must be at least 0"),
        ({"top": 1}, "'kind' is missing"),
        ({"kind": "interpolate", "weight": [0.5, 0.50]}, "holds interpolate-weight0.5 twice"),
    ],
)
def test_refuses(row: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        expand([row])


def test_json_and_back() -> None:
    intervention = Intervention("reset", layers=(0.5, 1), modules=("q", "up"))
    assert from_json(to_json(intervention)) == intervention
    assert from_json('{"kind": "directions", "top": 1}') == Intervention("directions", top=1)
    for text in ("directions", '["directions"]'):
        with pytest.raises(UserError, match="intervention: "):
            from_json(text)
