"""The configuration's `probes:`, read and resolved to checkpoints and splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationError

from svdrift.checkpoints import STAGE, Checkpoint
from svdrift.errors import UserError, choices, explain, shown
from svdrift.findings.paper import paper
from svdrift.probes import probe
from svdrift.ranks.settings import RanksSettings
from svdrift.section import Section
from svdrift.story import Story
from svdrift.study.stages import Graph
from svdrift.tasks.probing import probing_class
from svdrift.tasks.splits import Split

START = "start"


class ProbeKeys(Section):
    """The keys that every probe has; all others are settings of its kind."""

    kind: str = Field(description="A kind of `svdrift/probes/kinds/`, or the path of your own.")
    of: Literal["story", "all"] | tuple[str, ...] = Field(
        "story",
        description="The checkpoints that are measured: `story` for its path, its arms, and the "
        "ends of RL and of the stages beside and after it, `all`, or a list of references.",
    )
    on: tuple[str, ...] | None = Field(
        None, description="Splits that it is measured on; none for the ID and OOD test."
    )
    count: int | None = Field(
        None, gt=0, description="Most problems of each split, the first ones; none for all."
    )


@dataclass(frozen=True)
class Plan:
    """A probe of a study, with its references resolved.

    Attributes:
        name: in the configuration.
        kind: its kind, or the path of a file.
        record: what the workflow knows of the kind.
        settings: of the kind.
        checkpoints: ids of those that are measured.
        splits: that they are measured on.
        count: most problems of each split; None for all.
        others: ids of further checkpoints that are read, by the keys of the settings.
        data: splits or named data that are read besides, by the names in the table.
    """

    name: str
    kind: str
    record: probe.Probe
    settings: probe.ProbeSettings
    checkpoints: tuple[str, ...]
    splits: tuple[Split, ...]
    count: int | None
    others: Mapping[str, str]
    data: Mapping[str, str]

    def others_of(self, checkpoint: str) -> dict[str, str]:
        """Ids of the further checkpoints that measuring one reads, its own start included."""
        found = dict(self.others)
        if self.record.with_start:
            found[START] = str(Checkpoint.parse(checkpoint).start)
        return found


def read_probes(
    given: Mapping[str, Mapping[str, Any] | None],
    graph: Graph,
    story: Story,
    splits: Sequence[Split],
    task: str,
) -> dict[str, Plan]:
    """The probes by name, where null removes one.

    Args:
        given: the section `probes:` as it is written.
        splits: that checkpoints are evaluated on.
        task: name of the study's task.

    Raises:
        UserError: one line that names the first wrong key.
    """
    return {
        name: _read(name, keys, graph, story, splits, task)
        for name, keys in given.items()
        if keys is not None
    }


def read_paper(
    name: str,
    story: Story,
    probes: Mapping[str, Plan],
    choices_of_ranks: Mapping[str, RanksSettings],
    *,
    repairs_on_selection: bool,
) -> dict[str, str]:
    """What a related paper reads: the name of the study's probe of each kind.

    Raises:
        UserError: there is no such paper, an arm is missing, there is not exactly one probe of a
            kind, no choice of ranks of a task, or no repair on selection problems.
    """
    try:
        record = paper(name)
    except UserError as error:
        raise UserError(f"papers: {error}") from None
    for arm, meaning in record.arms.items():
        if arm not in story.arms:
            raise UserError(
                f"papers: {name} compares the arm {arm!r} ({meaning}), and the study has none of "
                f"this name (name its checkpoint in story.arms.{arm})"
            )
    found = {}
    for kind in record.reads:
        of_kind = [probe for probe, plan in probes.items() if plan.kind == kind]
        if len(of_kind) != 1:
            raise UserError(
                f"papers: {name} reads a probe of kind {kind!r}, and the study has "
                f"{len(of_kind) or 'none'} (allowed: one; add it to probes)"
            )
        found[kind] = of_kind[0]
    looked_at = {id for probe in found.values() for id in probes[probe].checkpoints}
    for arm in record.arms if found else ():
        if story.arms[arm] not in looked_at:
            raise UserError(
                f"papers: {name} compares the arm {arm!r} ({story.arms[arm]}), and no probe that "
                f"it reads looks at it (wanted: of: story, at probes.{next(iter(found.values()))})"
            )
    tasks = {choice.task for choice in choices_of_ranks.values()}
    for task in record.ranks:
        if task not in tasks:
            raise UserError(
                f"papers: {name} reads choices of ranks of task {task!r}, and the study has none "
                "(allowed: one or more; add it to ranks)"
            )
    if record.chooses_repairs and not repairs_on_selection:
        raise UserError(
            f"papers: {name} chooses among repairs on problems for selection, and the study "
            "evaluates none there (wanted: recovery.on_selection: true, and repairs)"
        )
    return found


def _read(
    name: str,
    given: Any,
    graph: Graph,
    story: Story,
    splits: Sequence[Split],
    task: str,
) -> Plan:
    key = f"probes.{name}"
    if not re.fullmatch(STAGE, name):
        raise UserError(
            f"{key}: not a name of a probe (allowed: a-z, 0-9 and _, beginning with a letter)"
        )
    if not isinstance(given, Mapping):
        raise UserError(f"{key}: must be a mapping with a kind, not {shown(given)}")
    common = set(ProbeKeys.model_fields)
    try:
        keys = ProbeKeys.model_validate({k: v for k, v in given.items() if k in common})
    except ValidationError as error:
        raise UserError(explain(error, ProbeKeys, at=key)) from None
    own = {k: v for k, v in given.items() if k not in common}
    try:
        record, model = probe.record(keys.kind), probe.settings_class(keys.kind)
    except UserError as error:
        raise UserError(f"{key}.kind: {error}") from None
    for unknown in own:
        if unknown not in model.model_fields:
            allowed = [*ProbeKeys.model_fields, *model.model_fields]
            raise UserError(f"unknown key '{key}.{unknown}'{choices(unknown, allowed)}")
    try:
        settings = model.model_validate(own)
    except ValidationError as error:
        raise UserError(explain(error, model, at=key)) from None
    if record.asks_task:
        try:
            probing_class(task)
        except UserError as error:
            raise UserError(
                f"{key}.kind: {keys.kind!r} asks the task about its solutions, which {task!r} does "
                f"not tell: {error}"
            ) from None
    return Plan(
        name=name,
        kind=keys.kind,
        record=record,
        settings=settings,
        checkpoints=_checkpoints(f"{key}.of", keys.of, record, graph, story),
        splits=_splits(f"{key}.on", keys.on, splits),
        count=keys.count,
        others={
            other: str(graph.resolve(f"{key}.{other}", reference))
            for other, reference in settings.others.items()
        },
        data=_data(f"{key}.data", settings.data_sets, graph),
    )


def _checkpoints(
    key: str,
    of: Literal["story", "all"] | tuple[str, ...],
    record: probe.Probe,
    graph: Graph,
    story: Story,
) -> tuple[str, ...]:
    if of == "all":
        found = [str(checkpoint) for checkpoint in graph.checkpoints]
    elif of == "story":
        found = [*story.path, *(end for role in story.roles for end in role.results.values())]
        found += story.arms.values()
    else:
        found = [str(graph.resolve(key, reference)) for reference in of]
        roots = [id for id in found if Checkpoint.parse(id).start is None]
        if record.with_start and roots:
            raise UserError(f"{key}: {roots[0]} starts from no checkpoint that it could be held to")
    if record.with_start:
        found = [id for id in found if Checkpoint.parse(id).start is not None]
    if not found:
        raise UserError(f"{key}: names no checkpoint")
    return tuple(dict.fromkeys(found))


def _data(key: str, given: Mapping[str, str], graph: Graph) -> Mapping[str, str]:
    for name, data in given.items():
        if not re.fullmatch(STAGE, name):
            raise UserError(
                f"{key}: {name!r} is not a name (allowed: a-z, 0-9 and _, beginning with a letter)"
            )
        graph.check_data_name(f"{key}.{name}", data)
    return given


def _splits(key: str, on: tuple[str, ...] | None, splits: Sequence[Split]) -> tuple[Split, ...]:
    by_name = {split.name: split for split in splits}
    if on is None:
        return tuple(
            split for split in splits if split.role == "test" and split.shift in ("id", "ood")
        )
    for name in on:
        if name not in by_name:
            raise UserError(f"{key}: {name!r} is not evaluated{choices(name, by_name)}")
    if len(set(on)) < len(on) or not on:
        raise UserError(f"{key}: must name different splits: {list(on)}")
    return tuple(by_name[name] for name in on)
