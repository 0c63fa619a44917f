"""Reading a YAML file of settings: each mistake in one line that names the file and its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from svdrift.errors import UserError


class _Refused(yaml.MarkedYAMLError):
    """What the loader refuses beyond what PyYAML does."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's loader of plain values; refuses what YAML forbids or Python cannot build."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.unfinished: set[str] = set()  # anchors of the nodes around the present one

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent) and anchor in self.unfinished:
            raise _Refused(f"&{anchor} holds itself", event.start_mark)
        self.unfinished |= {anchor} if anchor else set()
        node: Node | None = super().compose_node(parent, index)
        self.unfinished -= {anchor}
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node: MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                continue
            name = (key.tag, key.value)
            if name in lines:
                raise _Refused(
                    f"key '{key.value}' is given twice, first on line {lines[name]}", key.start_mark
                )
            lines[name] = key.start_mark.line + 1
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # an impossible date, a number without end
            raise _Refused(str(error), node.start_mark) from None


def read(file: Path) -> Any:
    """The plain value that a YAML file holds; None of an empty one.

    Raises:
        UserError: the file cannot be read, is no text or no YAML, or gives a key twice.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{file}: line {line}: not UTF-8 text") from None
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        kind = "" if isinstance(error, _Refused) else "not YAML: "
        context = error.context or "while"  # which says less than the line does, or all there is
        parts = [error.problem] if context.startswith("while") else [context, error.problem]
        problem = " ".join(", ".join(filter(None, parts)).split())
        hint = "; indent with spaces, not tabs" if "\\t" in problem else ""
        raise UserError(f"{file}: {where}{kind}{problem}{hint}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{file}: line {line}: not YAML: {error.reason}") from None
    except RecursionError:
        raise UserError(f"{file}: nested too deeply") from None
