"""Print what a study would cost: GPU hours and disk, calculated from its settings and its model."""

import argparse
from pathlib import Path

from svdrift.budget.costs import Machine
from svdrift.budget.shape import shape_of, without_weights
from svdrift.budget.table import table
from svdrift.scripting import run, settings_argument
from svdrift.study.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, Settings)
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("experiments/models"),
        help="folder of {ORG}/{NAME}/config.json for models of the hub (default: %(default)s)",
    )
    args = parser.parse_args()
    print(budget(args.settings, args.models))


def budget(settings: Settings, models: Path) -> str:
    """The budget of a study in Markdown."""
    return table(settings, shape_of(without_weights(settings, models), settings), Machine())


if __name__ == "__main__":
    run(main)
