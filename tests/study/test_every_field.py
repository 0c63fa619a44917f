"""Every field of the schema, with values that no study can mean: refused before any job, by name.

The fields are found from the types of the settings, so that a new one is tried without a word here.
"""

import types
import typing
from collections.abc import Iterator
from dataclasses import fields as dataclass_fields
from typing import Any

import pytest
from pydantic import BaseModel

from svdrift import plugins
from svdrift.errors import UserError
from svdrift.probes.probe import ROOM as PROBES
from svdrift.probes.probe import settings_class
from svdrift.recovery.interventions import Intervention
from svdrift.study.data import Expert, Filter, Mixture, PassRate, Replies
from svdrift.study.keys import StageKeys
from svdrift.study.overlays import read_config
from svdrift.study.probes import ProbeKeys
from svdrift.study.settings import Settings, read_settings
from svdrift.tasks import load_settings as load_task
from svdrift.tasks.base import TaskSettings
from svdrift.training.method import ROOM, load_settings
from svdrift.training.sft.loss_settings import LOSSES, RPSFTSettings
from tests.study.studies import DEFAULT

Path = tuple[str | int, ...]

STUDY: dict[str, Any] = {
    **read_config(None, DEFAULT),
    "data": {
        "hard": {"on": "practice", "pass_rate": {"of": "sft@64"}},
        "mixed": {"mix": {"practice": 0.5, "demonstrations": 0.5}},
        "own": {"replies_of": "sft@64", "on": "practice"},
        "turned": {"on": "practice", "rule": "faces", "target": 24},
        "any": {"on": "demonstrations", "expert": "uniform"},
    },
    "comparisons": [["sft@64", "base"]],
    "probes": {
        kind: {"kind": kind}
        | {
            "function_space": {"peak": "sft@16"},
            "sample_effect": {"data": {"hard": "practice"}},
        }.get(kind, {})
        for kind in plugins.names(PROBES)
    },
    "papers": ["imitation"],
    "ranks": {"hard": {"task": "repair", "target": "last", "anchor": "base", "cost": 0.2}},
    "compute": {"resources": {"train_sft": {}}},
    "recovery": {"repairs": [{"target": "last", "anchor": "base"}], "interventions": []},
    "spectra": {"pairs": [["base", "last"]]},
    "task": {"hands": {"files": {}, "pretraining_holdout": 0.0}},  # `other` is imported
}
STUDY["stages"] = {
    **STUDY["stages"],
    "other": {"method": "import_model", "source": "org/name"},
    "grpo": {"method": "grpo", "from": "sft@64", "on": "practice", "keep": {"every": 20}},
    **{
        f"by_{kind}": {
            "method": "sft",
            "from": "base",
            "on": "any",
            # With all of its keys, so that each is tried beside values that are right.
            "loss": model(**({"rank": 4} if model is RPSFTSettings else {})).model_dump(),
        }
        for kind, model in LOSSES.items()
    },
}
"""A study with every form of everything."""


def fields_of(model: type[BaseModel], at: Path) -> Iterator[tuple[Path, Any]]:
    """Each field below a section, also within its lists and mappings: its path and its type."""
    for name, field in model.model_fields.items():
        yield from values_of((*at, field.alias or name), field.annotation)


def values_of(path: Path, annotation: Any) -> Iterator[tuple[Path, Any]]:
    if annotation is TaskSettings or typing.get_args(annotation)[:1] == (TaskSettings,):
        annotation = load_task("general_points").Settings
    yield path, annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from fields_of(annotation, path)
        return
    for part in typing.get_args(annotation):
        origin = typing.get_origin(annotation)
        if origin in (typing.Union, types.UnionType, typing.Annotated):
            yield from [one for one in values_of(path, part) if one[0] != path]
        elif origin is tuple and part is not Ellipsis:
            yield from values_of((*path, 0), part)
    if typing.get_origin(annotation) is dict:
        yield from values_of((*path, example(path)), typing.get_args(annotation)[1])


def example(path: Path) -> str:
    """A key that the mapping at a path has in the study, or could have."""
    names = {"files": "id_test", "rules": "tens", "resources": "train_sft", "patterns": "q"}
    return names.get(str(path[-1]), "sft" if path[-1] == "stages" else "hard")


def every_field() -> dict[Path, Any]:
    found = dict(fields_of(Settings, ()))
    at: dict[type[BaseModel], Path] = {
        StageKeys: ("stages", "ppo"),
        Replies: ("data", "own"),
        Filter: ("data", "hard"),
        PassRate: ("data", "hard", "pass_rate"),
        Mixture: ("data", "mixed"),
        Expert: ("data", "any"),
    } | {model: ("stages", f"by_{kind}", "loss") for kind, model in LOSSES.items()}
    for model, path in at.items():
        found |= dict(fields_of(model, path))
    for method in plugins.names(ROOM, "settings"):
        stages = {name: keys["method"] for name, keys in STUDY["stages"].items()}
        stage = next(name for name, used in stages.items() if used == method)
        found |= dict(fields_of(load_settings(method)[1], ("stages", stage)))
    for kind in plugins.names(PROBES):
        found |= dict(fields_of(ProbeKeys, ("probes", kind)))
        found |= dict(fields_of(settings_class(kind), ("probes", kind)))
    for field in dataclass_fields(Intervention):
        found[("recovery", "interventions", 0, field.name)] = field.type
    return found | {("data", "turned", "rule"): str, ("data", "turned", "target"): int}


FIELDS = every_field()


def test_the_fields_are_found():
    """A few of each kind, so that a hole in the search is seen."""
    found = {".".join(map(str, path)) for path in FIELDS}
    assert found >= {
        "study",
        "seeds.0",
        "task.hands.demonstrated_multisets",
        "task.hands.files.id_test",
        "task.rules.tens.0",
        "stages.base.architecture.hidden_size",
        "stages.ppo.from.0",
        "stages.ppo.keep.every",
        "stages.ppo.value_clip",
        "stages.grpo.group_size",
        "stages.other.source",
        "stages.by_pear.loss.ratio_clip.0",
        "data.any.expert",
        "data.mixed.mix.hard",
        "probes.samples.temperature",
        "probes.function_space.peak",
        "probes.sample_effect.data.hard",
        "probes.losses.on.0",
        "ranks.hard.choices.0",
        "data.hard.pass_rate.at_least",
        "compute.resources.train_sft.mem_mb",
        "recovery.interventions.0.seed",
        "recovery.repairs.0.target",
        "spectra.patterns.q",
        "spectra.shares.0",
    }
    assert len(found) > 180


VALUES: dict[str, Any] = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "negative": -3,
    "zero": 0,
    "huge": 10**12,
    "boolean": True,
    "text": "x y",
    "digits": "16",
    "empty list": [],
    "null": None,
}

TAKEN: dict[str, dict[str, str]] = {  # value -> end of the key -> why it is taken
    "negative": {
        "partial_reward": "a reward may punish",
        "ratio_clip.0": "a log-ratio",
        "log_weight_clip.0": "a logarithm",
    },
    "zero": {
        "partial_reward": "a reward may be nothing",
        "_clip.0": "a logarithm",
        "seeds.0": "the first seed",
        "pretraining_holdout": "holds nothing out",
        "temperature": "greedy decoding, where replies are not sampled to learn from them",
        "gpus": "the CPU",
        "warmup_steps": "no warm-up",
        "_coefficient": "a part of the loss that is left out",
        "gamma": "counts the next reward alone",
        "gae_lambda": "no further than one step",
        "reasoning_weight": "the formula alone counts",
        "prefix_quarters.0": "no prefix",
        "at_least": "a rate of nothing solved",
        "at_most": "a rate of nothing solved",
        "draws": "no random change",
    },
    "empty list": {
        "controls": "none",
        "after": "none",
        "comparisons": "none",
        "multi_try_splits": "none",
        "pairs": "none",
        "repairs": "none",
        "interventions": "no repair",
        "extra_interventions": "none",
        "keep": "the end alone",
        "keep.of": "every start",
        "papers": "none",
    },
    "text": {
        "label": "any text",
        "formula_marker": "any text",
        "guidance.after": "any text",
        "patterns.q": "any expression",
    },
    "digits": {
        "label": "any text",
        "formula_marker": "any text",
        "guidance.after": "any text",
        "patterns.q": "any expression",
        "study": "a folder's name",
    },
}


@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_no_senseless_value_is_taken(path):
    for kind, value in VALUES.items():
        refusal = refused(path, value)
        if refusal is None:
            assert taken(path, kind), f"{kind} is taken"
        else:
            assert "\n" not in refusal
            assert len(refusal) < 1000
            names = [str(part) for part in path if not isinstance(part, int)]
            assert any(name in refusal for name in names[-2:]), f"{kind}: {refusal}"


def test_every_exception_is_one():
    """What the table allows is taken somewhere: no row of it is left over."""
    for kind, ends in TAKEN.items():
        for end in ends:
            paths = [path for path in FIELDS if ".".join(map(str, path)).endswith(end)]
            assert any(refused(path, VALUES[kind]) is None for path in paths), (kind, end)


def taken(path: Path, kind: str) -> bool:
    """Whether a value may stand at a path: by its type, or by the table."""
    if kind == "boolean":
        return FIELDS[path] in (bool, "bool")
    if kind == "null":  # leaves a choice out, or removes a stage or data
        return type(None) in typing.get_args(FIELDS[path]) or path[0] in (
            "stages",
            "data",
            "probes",
            "ranks",
        )
    return any(".".join(map(str, path)).endswith(end) for end in TAKEN.get(kind, {}))


def refused(path: Path, value: Any) -> str | None:
    """The line that refuses the value, by all that the workflow asks before any job."""
    try:
        settings = read_settings(changed(STUDY, path, value))
        settings.task.check_problems()
        settings.check_files()
        settings.task.check_supply(settings.seeds)
    except UserError as error:
        return str(error)
    return None


def changed(config: Any, path: Path, value: Any) -> Any:
    """A copy with another value at a path, and all that leads to it."""
    if not path:
        return value
    first, *rest = path
    if isinstance(first, int):
        items = list(config) if isinstance(config, list | tuple) and config else [None]
        return [changed(items[0], tuple(rest), value), *items[1:]]
    inner = config if isinstance(config, dict) else {}
    return inner | {first: changed(inner.get(first), tuple(rest), value)}
