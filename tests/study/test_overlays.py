"""Overlays are laid over the default study as Snakemake lays them."""

import copy

import pytest
import yaml
from snakemake.utils import update_config

from svdrift.errors import UserError
from svdrift.study.overlays import as_yaml, laid_over, read_config, require_name

CONFIG = {"study": "a", "stages": {"sft": {"steps": 4, "keep": [1, 2]}, "ppo": {"on": "x"}}}


@pytest.mark.parametrize(
    "overlay",
    [
        {},
        {"stages": {"sft": {"keep": [3]}}},
        {"stages": {"ppo": None, "new": {"method": "sft"}}},
        {"stages": {"ppo": {"on": {"mix": {"x": 1}}}}},
        {"study": {"a": 1}},
        {"stages": None},
        {"empty": {}},
    ],
)
def test_it_does_what_snakemake_does(overlay):
    expected, before = copy.deepcopy(CONFIG), copy.deepcopy(CONFIG)
    update_config(expected, overlay)
    assert laid_over(CONFIG, overlay) == expected
    assert before == CONFIG


def test_files_are_read(tmp_path):
    (tmp_path / "config.yaml").write_text("study: a\nstages: {sft: {steps: 4}}\n")
    (tmp_path / "over.yaml").write_text("study: b\n")
    base = tmp_path / "config.yaml"
    assert read_config(None, base) == {"study": "a", "stages": {"sft": {"steps": 4}}}
    assert read_config(tmp_path / "over.yaml", base) == read_config(None, base) | {"study": "b"}


def test_an_overlay_must_name_a_study_of_its_own(tmp_path):
    base, over, other = (tmp_path / f"{name}.yaml" for name in ("base", "over", "other"))
    base.write_text("study: a\n")
    over.write_text("seeds: [1]\n")
    other.write_text("study: b\n")
    message = r"over.yaml: no key `study`, .* study 'a' \(add a line such as `study: over`\)"
    for overlays in ([over], [base, over]):
        with pytest.raises(UserError, match=message):
            require_name({"study": "a", "seeds": [1]}, overlays, base)
    require_name({"study": "a"}, [], base)
    require_name({"study": "a"}, [base], base)
    require_name({"study": "b", "seeds": [1]}, [other, over], base)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {", "wrong.yaml: line 1: not YAML: "),
        ("a: 1\na: 2", "wrong.yaml: line 2: key 'a' is given twice"),
        ("[1]", "wrong.yaml: must hold settings by name (such as `study: NAME`), not [1]"),
        ("text", "wrong.yaml: must hold settings by name (such as `study: NAME`), not 'text'"),
        ("# no", "wrong.yaml: must hold settings by name (such as `study: NAME`), it is empty"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_config(None, tmp_path / "wrong.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="No such file"):
        read_config(tmp_path / "missing.yaml", tmp_path / "missing.yaml")


def test_on_is_a_key_whether_quoted_or_not(tmp_path):
    """YAML 1.1 reads the bare word as true; files of either form can be laid over each other."""
    base, over = tmp_path / "base.yaml", tmp_path / "over.yaml"
    base.write_text("stages: {sft: {on: one, steps: 2}}")
    over.write_text("stages: {sft: {'on': two}}")
    assert read_config(over, base) == {"stages": {"sft": {"on": "two", "steps": 2}}}
    over.write_text("stages: {sft: {'on': two, on: three}}")
    with pytest.raises(UserError, match=r"over.yaml: on: written with quotes"):
        read_config(over, base)


def test_settings_of_a_command_line_are_as_in_a_file() -> None:
    text = "{stages: {sft: {steps: '64', rate: 1.0e-3, ppo: null, on: practice}}, a: ['1', true]}"
    given = yaml.load(text, Loader=yaml.BaseLoader)  # as Snakemake reads them
    assert as_yaml(given) == {
        "stages": {"sft": {"steps": 64, "rate": 1e-3, "ppo": None, "on": "practice"}},
        "a": [1, True],
    }
    assert as_yaml({"study": "2024-01-01", "x": "a: b", "y": "[1", "z": 7}) == {
        "study": "2024-01-01",
        "x": "a: b",
        "y": "[1",
        "z": 7,
    }
