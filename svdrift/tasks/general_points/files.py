"""Users' own hands. Light, because the Snakefile reads them to find mistakes early."""

import csv
from collections.abc import Callable
from pathlib import Path

from svdrift.errors import PROBLEMS, UserError, listed, shown
from svdrift.tasks.general_points.game import FACES, Rule, parse_cards, values
from svdrift.tasks.general_points.solver import canonical_solution


def read_own_hands(
    path: str | Path, rule: Rule, target: int, size: int, *, with_face: bool
) -> list[tuple[str, ...]]:
    """Read a test split of the user's own.

    Args:
        path: of the file.
        rule: of the split.
        target: of the game.
        size: number of cards in a hand.
        with_face: whether each hand needs a face card; without one, all rules read it alike.

    Raises:
        UserError: as `read_hands_file`, or naming the hands that lack a face card.
    """
    hands = read_hands_file(path, rule, target, size)
    faceless = [" ".join(hand) for hand in hands if not set(hand) & set(FACES)]
    if with_face and faceless:
        raise UserError(f"{path}: OOD hands need a J, Q or K: {listed(faceless, PROBLEMS, '; ')}")
    return hands


def read_hands_file(path: str | Path, rule: Rule, target: int, size: int) -> list[tuple[str, ...]]:
    """The hands in a CSV file with a column `cards`, such as `3 J 5 10` or `"3,J,5,10"`.

    Raises:
        UserError: naming the file and every bad row: unknown rank, not `size` cards, no solution.
    """

    def check(cards: tuple[str, ...]) -> None:
        numbers = values(cards, rule)
        if canonical_solution(numbers, target) is None:
            raise ValueError(f"{numbers} cannot make {target}")

    return read_cards(path, size, check)


def read_cards(
    path: str | Path, size: int, check: Callable[[tuple[str, ...]], None] = lambda cards: None
) -> list[tuple[str, ...]]:
    """The hands in such a file; `check` raises ValueError for a hand that it does not accept.

    Raises:
        UserError: naming the file and every bad row.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "cards" not in (reader.fieldnames or ()):
                raise UserError(f"{path}: has no column 'cards'")
            rows = [(reader.line_num, row["cards"] or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read as a CSV file: {why}") from None
    if not rows:
        raise UserError(f"{path}: holds no hands")

    hands, bad = [], []
    for line, text in rows:
        try:
            cards = parse_cards(text, size)
            check(cards)
        except ValueError as error:
            bad.append(f"line {line}, {shown(text)}: {error}")
            continue
        hands.append(cards)
    if bad:
        raise UserError(f"{path}: {listed(bad, PROBLEMS, '; ')}")
    return hands
