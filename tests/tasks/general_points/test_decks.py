"""What can be dealt is known without dealing it."""

import pytest

from svdrift.errors import UserError
from svdrift.tasks.general_points.decks import check_supply, kinds_of, solvable
from svdrift.tasks.general_points.game import possible_values, value_multisets
from svdrift.tasks.general_points.hands import make_split
from svdrift.tasks.general_points.settings import Settings
from svdrift.tasks.general_points.solver import canonical_solution

ODD = {"rules": {"tens": [10, 10, 10], "odd": [7, 9, 59]}, "ood_rules": ["odd"]}


@pytest.mark.parametrize(
    ("rules", "target"), [({"faces": (11, 12, 13)}, 24), ({"far": (48, 59, 60)}, 7)]
)
def test_solvable_multisets_are_those_with_a_solution(rules, target):
    multisets = value_multisets(possible_values(rules), 4)[::3]
    assert solvable(multisets, target) == [
        canonical_solution(numbers, target) is not None for numbers in multisets
    ]


@pytest.mark.parametrize(("size", "every"), [(2, 1), (3, 1), (5, 40)])
def test_multisets_of_other_sizes_are_solvable_as_the_solver_says(size, every):
    multisets = value_multisets((*range(1, 14), 19), size)[::every]
    found = solvable(multisets, 24)
    assert found == [canonical_solution(numbers, 24) is not None for numbers in multisets]
    assert {True, False} == set(found)


TOO_MUCH = [  # settings of the task -> the line
    ({"hands": {"test_multisets": 1000}}, "test_multisets: 1000 multisets wanted, but only 566"),
    ({"hands": {"selection_multisets": 700}}, "selection_multisets: 700 multisets wanted, but onl"),
    ({"hands": {"demonstrated_multisets": 400}}, "demonstrated_multisets: 400 multisets wanted, b"),
    ({"hands": {"ood_share": 1e-9}}, "selection: 500 hands wanted for ood_selection, but only 0"),
    ({"hands": {"pretraining_holdout": 0.999}}, "demonstrated_multisets: 150 multisets wanted, bu"),
    (
        {"hands": {"pretraining_holdout": 0.99999, "demonstrated_multisets": "all"}},
        "demonstrations: 2048 hands wanted for demonstrations, but only 0 exist",
    ),
    ({"hands": {"test": 10**9}}, "test: 1000000000 hands wanted for id_test, but only"),
    ({"hands": {"selection": 9000}}, "selection: 9000 hands wanted for id_selection, but only"),
    ({"hands": {"demonstrated_test": 10**6}}, "demonstrated_test: 1000000 hands wanted for demons"),
    ({"hands": {"demonstrations": 100}}, "demonstrations: 100 hands cannot show 150 multisets"),
    ({**ODD, "target": 59, "hands": {"test_multisets": 300}}, "test_multisets: 300 multisets want"),
]


@pytest.mark.parametrize(("given", "message"), TOO_MUCH)
def test_what_does_not_suffice_is_refused_with_its_key(given, message):
    with pytest.raises(UserError) as caught:
        Settings.model_validate(given).check_supply((3,))
    assert str(caught.value).startswith(f"task.hands.{message}")
    assert str(caught.value).endswith("with seed 3")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("split", ["id_test", "ood_selection", "ood_test", "demonstrated"])
def test_the_last_hand_can_be_dealt_and_no_more(split, seed):
    """The sums agree with the deal itself."""
    key = {"id_test": "test", "ood_selection": "selection", "ood_test": "test"}
    key = key.get(split, "demonstrated_test")
    rest = {"selection": 1, "test": 1, "demonstrated_test": 1}
    given = Settings.model_validate({"hands": rest})
    kinds = kinds_of("practice" if split == "demonstrated" else split, given.deal(split), seed, 0)
    if split == "demonstrated":
        shown = {kind.group for kind in kinds_of("demonstrations", given.deal(split), seed, 2048)}
        kinds = [kind for kind in kinds if kind.group in shown]
    most = sum(kind.orders for kind in kinds)

    def training(settings):
        names = ("demonstrations",) if split == "demonstrated" else ()
        return {
            name: make_split(name, settings.deal(name), settings.count(name), seed, {})
            for name in names
        }

    def deal(count):
        settings = Settings.model_validate({"hands": rest | {key: count}})
        return make_split(split, settings.deal(split), count, seed, training(settings))

    assert len(deal(most)) == most
    with pytest.raises(UserError, match=f"only {most} exist"):
        deal(most + 1)
    if split != "ood_test":  # whose key is that of id_test, which has fewer
        check_supply(Settings.model_validate({"hands": rest | {key: most}}), seed)
    with pytest.raises(UserError, match=f"task.hands.{key}"):
        check_supply(Settings.model_validate({"hands": rest | {key: most + 1}}), seed)
