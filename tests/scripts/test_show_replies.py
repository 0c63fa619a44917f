"""Which replies the report shows as samples."""

import pandas as pd

from scripts.show_replies import samples
from tests.findings.test_claims import MODERATE


def episodes(solved):
    """First tries: checkpoint -> whether problems 0, 1, 2 … of each test split were solved."""
    return pd.DataFrame(
        [
            {
                "checkpoint": name,
                "split": f"{shift}_test",
                "role": "test",
                "shift": shift,
                "problem": f"{shift}-{i}",
                "reply": f"{name} says {i}",
                "solved": value,
                "fault": "none" if value else "wrong_value",
            }
            for name, values in solved.items()
            for shift in ("id", "ood")
            for i, value in enumerate(values)
        ]
    )


LAST, START = MODERATE.last, MODERATE.moderate
RESULT = MODERATE.rl.results[START]
PEAK = "sft-8"


def test_each_kind_is_the_first_problem_of_its_kind():
    first = episodes(
        {
            #       wrong  forgot regained right
            PEAK: [False, True, True, True],
            START: [False, True, False, True],
            RESULT: [False, False, True, True],
            LAST: [False, False, True, True],
        }
    )
    found = {kind: rows for table in samples(first, MODERATE, PEAK)
             for kind, rows in table.groupby("kind")}  # fmt: skip
    assert {kind: rows["problem"].iloc[0] for kind, rows in found.items()} == {
        "right": "id-2",
        "wrong": "ood-0",
        "forgot": "ood-1",
        "regained": "ood-2",
    }
    forgot = found["forgot"]
    assert list(forgot["checkpoint"]) == [PEAK, LAST]
    assert list(forgot["solved"]) == [True, False]
    assert list(found["regained"]["checkpoint"]) == [PEAK, START, RESULT]
    assert set(forgot["count"]) == {1}
    assert set(forgot["n"]) == {4}


def test_what_never_happened_is_left_out():
    everything = episodes({key: [True, True] for key in [PEAK, START, RESULT, LAST]})
    kinds = [table["kind"].iloc[0] for table in samples(everything, MODERATE, PEAK)]
    assert kinds == ["right"]


def test_a_peak_at_the_end_forgot_nothing():
    first = episodes({LAST: [True, False], START: [False, True], RESULT: [True, True]})
    kinds = {table["kind"].iloc[0] for table in samples(first, MODERATE, LAST)}
    assert "forgot" not in kinds
