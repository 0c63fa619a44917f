import pandas as pd

from scripts.collect_sweep import join_points


def test_settings_stand_before_the_accuracies_of_their_point():
    one = pd.DataFrame({"seed": [0, 1], "value": [0.1, 0.2]})
    two = pd.DataFrame({"seed": [0], "value": [0.9]})
    points = [
        {"stages.sft.steps": 8, "stages.ppo.from": "all"},
        {"stages.sft.steps": 16, "stages.ppo.from": [4, 8]},
    ]
    table = join_points(points, [one, two])
    assert list(table) == ["stages.sft.steps", "stages.ppo.from", "seed", "value"]
    assert table["stages.sft.steps"].tolist() == [8, 8, 16]
    assert table["stages.ppo.from"].tolist() == ["all", "all", "[4, 8]"]  # one type in a column
    assert table["value"].tolist() == [0.1, 0.2, 0.9]
