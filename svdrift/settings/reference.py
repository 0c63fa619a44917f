"""The configuration's reference page and JSON schema, written from the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from svdrift.settings.section import Section
from svdrift.settings.study import Settings


def reference_page() -> str:
    """The configuration reference in Markdown: one table per section."""
    lines = [
        "# Configuration reference",
        "",
        "Written from `svdrift/settings/` by `make docs`; do not edit. A study names only "
        "what differs from these defaults. Overlays in `experiments/` are laid over `config.yaml`, "
        "the default study, which sets `rl.starts`, `rl.trajectories` and `rl.controls`: an "
        "overlay that changes `sft.checkpoints` or `rl.starts` must name these too.",
    ]
    for path, section in _sections(Settings, ""):
        lines += ["", f"## {f'`{path}`' if path else 'Top level'}", ""]
        lines += [
            (section.__doc__ or "").strip(),
            "",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for name, field in section.model_fields.items():
            if not _is_section(field.annotation):
                default = field.get_default(call_default_factory=True)
                lines.append(f"| `{name}` | `{_plain(default)}` | {field.description} |")
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _sections(model: type[Section], path: str) -> Iterator[tuple[str, type[Section]]]:
    yield path, model
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from _sections(field.annotation, f"{path}.{name}".lstrip("."))  # type: ignore[arg-type]


def main() -> None:
    """Write the schema and the reference page below the current folder."""
    schema = json.dumps(Settings.model_json_schema(), indent=2) + "\n"
    Path("workflow/schemas/config.schema.json").write_text(schema)
    Path("docs/configuration.md").write_text(reference_page())


if __name__ == "__main__":
    main()
