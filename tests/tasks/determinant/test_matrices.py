"""Values of matrices against numpy and by hand, and which matrices are alike."""

from itertools import permutations

import numpy as np
import pytest

from svdrift.tasks.determinant.matrices import (
    Matrix,
    join,
    key,
    parse,
    products,
    signed_permutations,
    value,
)


@pytest.mark.parametrize("size", [2, 3])
def test_the_determinant_is_that_of_numpy(size):
    rng = np.random.default_rng(size)
    for entries in rng.integers(-9, 10, (200, size, size)):
        rows = tuple(map(tuple, entries.tolist()))
        assert Matrix(rows, "determinant").value == round(np.linalg.det(entries))


def test_by_hand():
    assert products(((2, -1), (3, 4))) == (8, -3)
    assert Matrix(((2, -1), (3, 4)), "determinant").value == 11
    assert Matrix(((2, -1), (3, 4)), "permanent").value == 5
    rows = ((1, 2, 3), (4, 5, 6), (7, 8, 10))
    assert Matrix(rows, "determinant").value == -3
    assert Matrix(rows, "permanent").value == 50 + 48 + 96 + 80 + 84 + 105
    assert value((8, -3), "determinant") == 11


def test_even_permutations_come_first():
    for size in (2, 3):
        signs = [sign for sign, _ in signed_permutations(size)]
        assert signs == sorted(signs, reverse=True)
        assert sum(signs) == 0
        for sign, order in signed_permutations(size):
            assert round(np.linalg.det(np.eye(size)[list(order)])) == sign


def test_alike_are_those_of_other_orders_and_the_transpose():
    rows = np.array([[2, -1, 0], [3, 4, 1], [5, -2, 2]])
    alike = {
        key(tuple(map(tuple, one[list(a)][:, list(b)].tolist())))
        for one in (rows, rows.T)
        for a in permutations(range(3))
        for b in permutations(range(3))
    }
    assert len(alike) == 1
    changed = rows.copy()
    changed[0, 0] = 1
    assert key(tuple(map(tuple, changed.tolist()))) not in alike
    assert parse(next(iter(alike)))
    assert join(parse("2 -1 ; 3 4")) == "2 -1 ; 3 4"
