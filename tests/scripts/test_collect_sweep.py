import pandas as pd

from scripts.collect_sweep import join_points


def test_settings_stand_before_the_accuracies_of_their_point():
    one = pd.DataFrame({"seed": [0, 1], "value": [0.1, 0.2]})
    two = pd.DataFrame({"seed": [0], "value": [0.9]})
    points = [{"sft.steps": 8, "rl.starts": "all"}, {"sft.steps": 16, "rl.starts": [4, 8]}]
    table = join_points(points, [one, two])
    assert list(table) == ["sft.steps", "rl.starts", "seed", "value"]
    assert table["sft.steps"].tolist() == [8, 8, 16]
    assert table["rl.starts"].tolist() == ["all", "all", "[4, 8]"]  # one type in a column
    assert table["value"].tolist() == [0.1, 0.2, 0.9]
