"""Users' own hands. Light to import, since files are checked while a workflow is being read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from svdrift.errors import UserError
from svdrift.tasks.general_points.game import FACES, Rule, parse_cards, values
from svdrift.tasks.general_points.solver import canonical_solution

if TYPE_CHECKING:
    from svdrift.settings.task import TaskSettings


def read_own_hands(settings: TaskSettings) -> dict[str, list[tuple[str, ...]]]:
    """The user's own hands by split, `task.hands.files` in the settings.

    Raises: UserError naming the file and every bad row: as `read_hands_file`, and in `ood_test`
    a hand without a face card, which both rules read alike.
    """
    own = {}
    for split, path in settings.hands.files.items():
        rule = settings.ood_rule if split == "ood_test" else settings.id_rule
        own[split] = read_hands_file(path, settings.rules[rule], settings.target)
        faceless = [" ".join(hand) for hand in own[split] if not set(hand) & set(FACES)]
        if split == "ood_test" and faceless:
            raise UserError(f"{path}: hands for {split} need a J, Q or K: {'; '.join(faceless)}")
    return own


def read_hands_file(path: str | Path, rule: Rule, target: int) -> list[tuple[str, ...]]:
    """The hands in a CSV file with a column `cards`, such as `3 J 5 10` or `"3,J,5,10"`.

    Raises: UserError naming the file and every bad row: unknown rank, not four cards, no solution.
    """

    def check(cards: tuple[str, ...]) -> None:
        numbers = values(cards, rule)
        if canonical_solution(numbers, target) is None:
            raise ValueError(f"{numbers} cannot make {target}")

    return read_cards(path, check)


def read_cards(
    path: str | Path, check: Callable[[tuple[str, ...]], None] = lambda cards: None
) -> list[tuple[str, ...]]:
    """The hands in such a file, each good enough for `check`, which raises ValueError otherwise.

    Raises: UserError naming the file and every bad row.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "cards" not in (reader.fieldnames or ()):
                raise UserError(f"{path}: has no column 'cards'")
            rows = [(reader.line_num, row["cards"] or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV file: {error}") from error
    if not rows:
        raise UserError(f"{path}: holds no hands")

    hands, problems = [], []
    for line, text in rows:
        try:
            cards = parse_cards(text)
            check(cards)
        except ValueError as error:
            problems.append(f"line {line}, {text!r}: {error}")
            continue
        hands.append(cards)
    if problems:
        raise UserError(f"{path}: {'; '.join(problems)}")
    return hands
