"""The tables of docs/validation.md, between its markers."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from tests.validation.checks import LIMIT, Rates, Statement

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
BEGIN, END = "<!-- validation: written by `make validate` -->\n", "<!-- end of validation -->\n"
LIBRARIES = ("numpy", "scipy", "pandas", "torch")
HEADING = (
    "| statement | simulated study | studies | missed, two-sided | above | below | |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def with_tables(page: str, tables: str) -> str:
    """The page with the tables between its markers."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{tables}{END}{after}"


def made(minutes: float, on: str = "one core") -> str:
    """When, with what and on what the tables were made, in a sentence."""
    versions = ", ".join(f"{name} {version(name).split('+')[0]}" for name in LIBRARIES)
    cores = os.cpu_count() or 1
    return (
        f"Made on {date.today().isoformat()} in {minutes:.0f} minutes, on {on} of a machine "
        f"with {cores} ({platform.system()}, {platform.machine()}); "
        f"Python {platform.python_version()}, {versions}.\n"
    )


def table(title: str, rows: Sequence[str]) -> str:
    """The rows of one kind under its title."""
    return f"\n### {title}\n\n{HEADING}{''.join(rows)}"


def replies_table(found: Mapping[str, float]) -> str:
    """What `tests.validation.replies.run` counted, under a title."""
    return (
        "\n### Replies judged by the verifier\n\n"
        "| mutated replies | the oracle has an opinion on | solved | disagreements | crashes "
        "| slowest | median |\n| --- | --- | --- | --- | --- | --- | --- |\n"
        f"| {found['count']:,.0f} | {percent(found['judged'])} | {percent(found['solved'])} "
        f"| {found['disagreements']:.0f} | {found['crashes']:.0f} | {found['slowest_ms']:.0f} ms "
        f"| {found['median_us']:.0f} µs |\n"
    )


def row(simulated: str, statement: Statement, rates: Rates) -> str:
    """One row; rates in percent, with the Monte Carlo standard error of the first."""
    count = f"{rates.given}"
    if rates.given < rates.studies:
        count += f" of {rates.studies}"
    missed = f"{percent(rates.missed)} ± {percent(rates.error)}"
    if rates.surely_above(LIMIT):
        missed = f"**{missed}**"
    cells = (place(simulated, statement), count, missed, percent(rates.above), percent(rates.below))
    return f"{' | '.join(cells)} | {statement.note} |\n"


def place(simulated: str, statement: Statement) -> str:
    """The beginning of a row, which says what it is of."""
    return f"| {statement.name} | {simulated}"


def percent(share: float) -> str:
    """`4.7 %`."""
    return f"{100 * share:.1f} %"
