import json
import sys

import pandas as pd
import pytest

from scripts import choose_anchor
from svdrift.evaluation.accuracy import accuracy_table
from tests.evaluation.episode_tables import tries


def table(checkpoint, selected, tested=0):
    """Accuracies of a checkpoint that solves so many of ten selection and test problems."""
    solved = {"ood_selection": selected, "id_selection": 10, "ood_test": tested}
    return accuracy_table(
        pd.concat(
            [
                tries([i < count for i in range(10)], range(10), checkpoint, split)
                for split, count in solved.items()
            ]
        )
    )


@pytest.mark.parametrize(
    ("selected", "expected"),
    [((2, 5, 4), "sft-8"), ((5, 5, 5), "sft-64.more-4"), ((1, 1, 2), "sft-16")],
)
def test_the_best_on_ood_selection_is_chosen_and_the_first_of_equals(
    tmp_path, monkeypatch, selected, expected
):
    """The path may start anywhere, so that its steps need not rise."""
    paths = []
    for name, count in zip(("sft-64.more-4", "sft-8", "sft-16"), selected, strict=True):
        paths.append(str(tmp_path / f"{name}.parquet"))
        table(name, count, tested=10 - count).to_parquet(paths[-1])
    out = tmp_path / "anchor.json"
    arguments = ["choose_anchor.py", "--accuracy", *paths, "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    choose_anchor.main()
    choice = json.loads(out.read_text())
    assert choice["checkpoint"] == expected
    assert choice["accuracy"] == max(selected) / 10
    assert choice["split"] == "ood_selection"
    assert choice["n"] == 10
    assert choice["chosen"] == "on selection problems of its own seed"
    assert {"stage", "step", "start"} < set(choice)
