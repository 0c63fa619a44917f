"""The configuration's reference page and JSON schema, written from the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from svdrift import plugins
from svdrift.probes.probe import ROOM as PROBES
from svdrift.probes.probe import settings_class
from svdrift.ranks.settings import RanksSettings
from svdrift.section import LARGEST, Section
from svdrift.study.data import Expert, Filter, Mixture, PassRate, Replies, Variant
from svdrift.study.keys import Every, StageKeys
from svdrift.study.probes import ProbeKeys
from svdrift.study.settings import Settings
from svdrift.tasks import load_settings as load_task
from svdrift.tasks.base import TaskSettings
from svdrift.training.method import ROOM, load_settings

SCHEMA, PAGE = Path("workflow/schemas/config.schema.json"), Path("docs/configuration.md")
TASK = "general_points"
FORMS: dict[type[Section], tuple[str, ...]] = {
    # Of what a stage learns from -> the keys that are not the configuration's.
    Replies: ("kind",),
    Filter: ("kind",),
    PassRate: (),
    Mixture: ("kind",),
    Variant: ("kind", "changes"),
    Expert: ("kind",),
}


def reference_page() -> str:
    """The configuration reference in Markdown: a table for each section."""
    lines = [
        "# Configuration reference",
        "",
        "Written by `make docs` from the settings of each room; do not edit. `config.yaml` is the "
        "default study. Other studies are overlays (`experiments/`): an overlay names only what "
        "differs, down to a single key of a single stage, and `null` removes a stage. Mappings are "
        "merged key by key; a list or a plain value replaces the one below it.",
        "",
        "Values are read as they are written and never converted: a whole number is neither "
        '`16.0` nor `"16"` nor `true`, and every number is finite. A number with a fraction may be '
        f"written `1e-3`. Numbers go up to {LARGEST:,} where a key sets no other bound; "
        "`workflow/schemas/config.schema.json` has the bounds of each. A key that a file gives "
        "twice is refused.",
    ]
    for path, section in _sections(Settings, ""):
        lines += _table(f"`{path}`" if path else "Top level", section)
    lines += _table("`stages.NAME`", StageKeys, "All other keys are settings of the method, below.")
    lines += _table("`stages.NAME.keep` as a mapping", Every)
    lines += [
        "",
        "## What a stage learns from",
        "",
        "`on:` is the name of a split of the task or of an entry of `data:`, or one of these forms "
        "in place. A reference names one checkpoint: `base`, `sft@64`, `sft@end`; "
        "`ppo@end of sft@64` where a stage has several starts.",
    ]
    for form, hidden in FORMS.items():
        path = "`pass_rate`" if form is PassRate else form.__name__
        lines += _table(path, form, hidden=hidden, level=3)
    for name in plugins.names(ROOM, "settings"):
        for inner, model in _sections(load_settings(name)[1], "stages.NAME"):
            lines += _table(f"`{inner}` with `method: {name}`", model)
    for inner, model in _optional_sections_of_methods().items():
        lines += _table(f"`{inner}`", model, hidden=("kind",))
    lines += _table("`ranks.NAME`", RanksSettings, "How methods choose: [ranks.md](ranks.md).")
    lines += _table("`probes.NAME`", ProbeKeys, "What each kind measures: [probes.md](probes.md).")
    for name in plugins.names(PROBES):
        lines += _table(f"`probes.NAME` with `kind: {name}`", settings_class(name))
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema, in which a stage may have the keys of all methods beside the common ones."""
    found = Settings.model_json_schema()
    keys = StageKeys.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions = keys.pop("$defs", {})
    for name in plugins.names(ROOM, "settings"):
        method = load_settings(name)[1].model_json_schema()
        definitions |= method.pop("$defs", {})
        definitions[f"method_{name}"] = {
            "description": method.get("description", ""),
            "type": "object",
            "properties": method["properties"],
        }
    # Keys that a method sets are checked by its own settings; here they serve editors.
    keys["additionalProperties"] = True
    keys["allOf"] = [
        {
            "if": {"properties": {"method": {"const": name}}, "required": ["method"]},
            "then": {"$ref": f"#/$defs/method_{name}"},
        }
        for name in plugins.names(ROOM, "settings")
    ]
    keys.pop("required", None)  # an overlay may name a single key of a stage
    definitions["stage"] = keys
    definitions["probe"] = _any_probe()
    task = load_task(TASK).Settings.model_json_schema()
    definitions |= task.pop("$defs", {})
    task.pop("required", None)
    definitions["task"] = task | {"additionalProperties": True}  # another task has other keys
    found["$defs"] = found.get("$defs", {}) | definitions
    found["properties"]["stages"]["additionalProperties"] = {
        "anyOf": [{"$ref": "#/$defs/stage"}, {"type": "null"}]
    }
    found["properties"]["probes"]["additionalProperties"] = {
        "anyOf": [{"$ref": "#/$defs/probe"}, {"type": "null"}]
    }
    found["properties"]["task"] = {
        "$ref": "#/$defs/task",
        "description": found["properties"]["task"].get("description", ""),
    }
    found["required"] = []
    return found


def _any_probe() -> dict[str, Any]:
    """The schema of a probe, which may have the keys of its kind beside the common ones."""
    keys = ProbeKeys.model_json_schema()
    keys["additionalProperties"] = True
    keys["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
            "then": {"properties": settings_class(name).model_json_schema()["properties"]},
        }
        for name in plugins.names(PROBES)
    ]
    keys.pop("required", None)  # an overlay may name a single key
    return keys


def _table(
    title: str, section: type[Section], note: str = "", hidden: tuple[str, ...] = (), level: int = 2
) -> list[str]:
    fields = {
        field.alias or name: field
        for name, field in section.model_fields.items()
        if name not in hidden and not _is_section(field.annotation)
    }
    text = " ".join([" ".join((section.__doc__ or "").split()), note]).strip()
    lines = ["", f"{'#' * level} {title}", "", text]
    if fields:
        lines += ["", "| key | default | meaning |", "|---|---|---|"]
    for name, field in fields.items():
        default = (
            "required"
            if field.is_required()
            else f"`{_plain(field.get_default(call_default_factory=True))}`"
        )
        lines.append(f"| `{name}` | {default} | {field.description} |")
    return lines


def _plain(value: object) -> str:
    if isinstance(value, Section):
        value = value.model_dump(mode="json")
    return value if isinstance(value, str) else json.dumps(value)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _of_kind(part: type[Section]) -> str:
    """What a title adds where a section has several forms."""
    kind = part.model_fields.get("kind")
    return "" if kind is None else f"` with `kind: {kind.default}"


def _optional_sections_of_methods() -> dict[str, type[Section]]:
    """The sections that settings of methods may have, once for all methods that share one."""
    return {
        f"stages.NAME.{name}" + _of_kind(part): part
        for method in plugins.names(ROOM, "settings")
        for name, field in load_settings(method)[1].model_fields.items()
        for part in get_args(field.annotation)
        if _is_section(part)
    }


def _sections(model: type[Section], path: str) -> Iterator[tuple[str, type[Section]]]:
    """A section and those within it, by name, too."""
    if model is TaskSettings:
        model = load_task(TASK).Settings
    yield path, model
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            inner = f"{path}.{name}".lstrip(".")
            yield from _sections(field.annotation, inner)  # type: ignore[arg-type]
        elif get_origin(field.annotation) is dict and _is_section(get_args(field.annotation)[1]):
            yield from _sections(get_args(field.annotation)[1], f"{path}.{name}.NAME")


def main() -> None:
    """Write the schema and the reference page below the current folder."""
    SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(reference_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
