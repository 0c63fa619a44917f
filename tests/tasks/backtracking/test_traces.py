"""Traces by hand, and what all of them promise."""

import re
from fractions import Fraction
from itertools import permutations
from random import Random

import pytest

from svdrift.tasks.backtracking.traces import KINDS, operations, reachable, steps_of, trace
from svdrift.tasks.general_points.solver import canonical_solution, solutions

HAND = (3, 10, 5, 1)
FORMULA = "( ( 3 * 5 ) + 10 ) - 1"
RIGHT = ["3 * 5 = 15", "15 + 10 = 25", "25 - 1 = 24"]


@pytest.mark.parametrize(
    ("formula", "steps"),
    [
        (FORMULA, RIGHT),
        ("( 3 * 5 ) + ( 10 - 1 )", ["3 * 5 = 15", "10 - 1 = 9", "15 + 9 = 24"]),
        ("8 / ( 3 - ( 8 / 3 ) )", ["8 / 3 = 8/3", "3 - 8/3 = 1/3", "8 / 1/3 = 24"]),
    ],
)
def test_steps_are_the_operations_innermost_first(formula, steps):
    assert [str(step) for step in steps_of(formula)] == steps


def numbers(*values):
    return tuple(sorted(map(Fraction, values)))


def test_reachable_agrees_with_the_solver():
    rng = Random(0)
    for _ in range(200):
        hand = [rng.randint(1, 13) for _ in range(3)]
        assert reachable(numbers(*hand), 24) == bool(solutions(hand, 24)), hand
    assert reachable(numbers(8, 3, 8, 3), 24)
    assert not reachable(numbers(1, 1, 1, 1), 24)


def test_operations_are_all_there():
    found = {(step.left, step.operator, step.right) for step in operations(numbers(2, 3))}
    wanted = {(2, "+", 3), (2, "*", 3), (2, "-", 3), (3, "-", 2), (2, "/", 3), (3, "/", 2)}
    assert found == wanted
    assert all(step.right != 0 or step.operator != "/" for step in operations(numbers(0, 3)))


def replay(parts, hand, target):
    """Take each step, go back at each return; the branch points and first steps of dead ends."""
    stack, dead = [numbers(*hand)], []
    for place, part in enumerate(parts):
        if match := re.fullmatch(r"undo (\d)", part):
            branch = int(match[1])
            first = parts[place - (len(stack) - branch)]
            dead.append((branch, first))
            del stack[branch:]
            continue
        left, operator, right, _, result = part.split()
        (step,) = [
            one
            for one in operations(stack[-1])
            if (str(one.left), one.operator, str(one.right)) in {(left, operator, right)}
            or (
                operator in "+*"
                and (str(one.left), one.operator, str(one.right)) == (right, operator, left)
            )
        ]
        assert str(step.result) == result, part
        stack.append(step.after(stack[-1]))
    assert stack[-1] == (target,)
    return dead


def test_a_right_trace_solves_the_hand_and_leaves_dead_ends_that_are_dead():
    rng = Random(1)
    seen = 0
    for _ in range(300):
        hand = tuple(rng.randint(1, 13) for _ in range(4))
        formula = canonical_solution(hand, 24)
        if formula is None:
            continue
        count = rng.randint(0, 5)
        parts = trace(hand, formula, 24, "right", count, rng)
        if parts is None:
            continue
        seen += 1
        dead = replay(parts, hand, 24)
        assert len(dead) == count == len(set(dead))
        assert all(0 <= int(n) <= 60 for part in parts for n in re.findall(r"\d+", part))
        for branch, first in dead:
            before = numbers(*hand)
            if branch == 2:
                before = steps_of(formula)[0].after(before)
            step = next(one for one in operations(before) if str(one) == first)
            assert not reachable(step.after(before), 24)
    assert seen > 100


def test_kinds_by_hand():
    def parts(kind, count=2):
        return trace(HAND, FORMULA, 24, kind, count, Random(0))

    assert parts("direct") == []
    assert parts("right", 0) == RIGHT
    right = parts("right")
    assert right[-1] == RIGHT[-1]
    assert right.count("undo 1") + right.count("undo 2") == 2
    assert sorted(parts("shuffled")) == sorted(right) != parts("shuffled")
    corrupt = parts("corrupt")
    assert [part.split("=")[0] for part in corrupt] == [part.split("=")[0] for part in right]
    assert not set(corrupt) & {part for part in right if "=" in part}
    filler = parts("filler")
    assert len(filler) == len(right)
    assert set(filler) == set(RIGHT)
    assert filler[-3:] == RIGHT
    assert set(KINDS) == {"direct", "right", "filler", "corrupt", "shuffled"}


def test_a_hand_without_words_or_room_has_no_trace():
    assert trace((8, 3, 8, 3), "8 / ( 3 - ( 8 / 3 ) )", 24, "right", 0, Random(0)) is None
    most = trace(HAND, FORMULA, 24, "right", 8, Random(0))
    assert most is None or len(most) > 20


def test_the_order_of_the_hand_changes_no_trace():
    traces = {tuple(trace(hand, FORMULA, 24, "right", 2, Random(5))) for hand in permutations(HAND)}
    assert len(traces) == 1
