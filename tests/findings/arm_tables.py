"""Small tables of a paper's arms, made by hand."""

import pandas as pd

from svdrift.findings.paper import Paper
from svdrift.story import Story


def story(paper: Paper) -> Story:
    """Arms are checkpoints of their own names."""
    arms = {arm: arm for arm in paper.arms}
    return Story(path=("base", "sft-64"), path_label="SFT", labels={}, arms=arms)


def scores(paper: Paper, solved: dict[str, int]) -> pd.DataFrame:
    """Scores and samples of 40 problems in each of three seeds; `solved` of 10 by arm, else 5."""
    rows = [
        {
            "seed": seed,
            "checkpoint": arm,
            "role": "test",
            "shift": shift,
            "group": problem,
            "problem": problem,
            "valid": problem % 10 < solved.get(arm, 5),
            "samples": 8,
            "correct": int(problem % 10 < solved.get(arm, 5)),
        }
        for seed in range(3)
        for arm in paper.arms
        for shift in ("id", "ood")
        for problem in range(40)
    ]
    return pd.DataFrame(rows)
