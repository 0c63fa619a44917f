"""The configuration's `story:`: which stages play which part, resolved to checkpoint ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from svdrift.checkpoints import Checkpoint
from svdrift.errors import UserError, choices, listed
from svdrift.section import Section
from svdrift.story import Role, Story
from svdrift.study.stages import Graph, Stage


class StorySettings(Section):
    """The parts that stages play in figures and claims."""

    path: str = Field(
        description="The stage along which OOD ability comes and goes; the anchor is chosen on it."
    )
    peak: str | None = Field(
        None,
        description="The checkpoint of the path that is taken as its OOD peak in every seed, named "
        "in advance; none to choose it for each seed on selection problems. The anchor of spectra "
        "and repairs, and what losses are counted from.",
    )
    rl: str | None = Field(
        None, description="The stage of reinforcement learning that starts from the path."
    )
    controls: tuple[str, ...] = Field(
        (), description="Stages from the same starts that RL is compared with."
    )
    rl_null: str | None = Field(
        None,
        description="The stage from the same starts that is RL without its signal, such as one "
        "with `permute_rewards`.",
    )
    after: tuple[str, ...] = Field(
        (),
        description="Stages that start from what RL made, such as SFT after RL; those on the "
        "demonstrations first.",
    )
    moderate: str | None = Field(
        None,
        description="The start of RL that papers call the moderate one; none for the middle one "
        "(of an even number, the lower).",
    )
    arms: dict[str, str] = Field(
        default_factory=dict,
        description="Checkpoints that a related paper compares, by the paper's names for them "
        "(`arms` of its file in `svdrift/findings/papers/`).",
    )


def resolve_story(settings: StorySettings, graph: Graph) -> Story:
    """Roles by checkpoint ids.

    Raises:
        UserError: a role names no stage, or one that cannot play it.
    """
    labels = {stage.name: stage.label for stage in graph}
    path = _stage("story.path", settings.path, graph)
    if len(path.starts) != 1 or path.starts[0] is None:
        raise UserError(
            f"story.path: {path.name} must start from one checkpoint (it starts from "
            f"{listed(path.starts) if path.record.starts else 'none'})"
        )
    start = path.starts[0]
    line = [start, *path.kept(start)]
    rl = None if settings.rl is None else _stage("story.rl", settings.rl, graph)
    if rl is not None:
        _require("story.rl", rl, line, f"the path, {path.name}")
    controls = [_stage("story.controls", name, graph) for name in settings.controls]
    null = [_stage("story.rl_null", name, graph) for name in [settings.rl_null] if name is not None]
    after = [_stage("story.after", name, graph) for name in settings.after]
    beside = {"controls": controls, "rl_null": null, "after": after}
    for key, stages in beside.items():
        for stage in stages:
            if rl is None:
                raise UserError(
                    f"story.{key}: there is no story.rl that {stage.name} could go with"
                )
            allowed, where = rl.starts, f"the starts of story.rl, {rl.name}"
            if key == "after":
                allowed, where = rl.checkpoints, f"what story.rl, {rl.name}, keeps"
            _require(f"story.{key}", stage, allowed, where)
    parts = [stage.name for stage in (path, rl, *controls, *null, *after) if stage is not None]
    for name in parts:
        if parts.count(name) > 1:
            raise UserError(
                f"story: {name} plays two parts; path, rl, controls, rl_null and after must differ"
            )
    return Story(
        path=tuple(map(str, line)),
        path_label=path.label,
        peak=_peak(settings, graph, line),
        rl=None if rl is None else _role(rl, line),
        controls=tuple(_role(control, line) for control in controls),
        rl_null=next((_role(stage, line) for stage in null), None),
        after=tuple(_role(stage, rl.checkpoints) for stage in after if rl is not None),
        moderate=_moderate(settings, rl, graph, line),
        arms={
            name: str(graph.resolve(f"story.arms.{name}", reference))
            for name, reference in settings.arms.items()
        },
        labels=labels,
    )


def _stage(key: str, name: str, graph: Graph) -> Stage:
    if name not in graph.stages:
        raise UserError(f"{key}: there is no stage {name!r}{choices(name, graph.stages, 'stages')}")
    return graph.stages[name]


def _require(key: str, stage: Stage, allowed: Iterable[object], where: str) -> None:
    places = list(allowed)
    for start in stage.starts:
        if start not in places:
            raise UserError(
                f"{key}: {stage.name} starts from {start or 'no checkpoint'}, which is not on "
                f"{where} ({listed(places)})"
            )


def _role(stage: Stage, line: Sequence[Checkpoint]) -> Role:
    starts = sorted((start for start in stage.starts if start is not None), key=line.index)
    kept = {str(start): tuple(map(str, stage.kept(start))) for start in starts}
    return Role(
        stage=stage.name,
        label=stage.label,
        unit=stage.record.unit,
        results={start: ids[-1] for start, ids in kept.items()},
        kept=kept,
    )


def _peak(settings: StorySettings, graph: Graph, line: Sequence[Checkpoint]) -> str | None:
    if settings.peak is None:
        return None
    peak = graph.resolve("story.peak", settings.peak)
    if peak not in line[:-1]:
        raise UserError(
            f"story.peak: {peak} is not a checkpoint of the path before its end (allowed: "
            f"{listed(line[:-1])})"
        )
    return str(peak)


def _moderate(
    settings: StorySettings, rl: Stage | None, graph: Graph, line: Sequence[Checkpoint]
) -> str | None:
    if rl is None:
        if settings.moderate is not None:
            raise UserError("story.moderate: there is no story.rl whose start it could be")
        return None
    starts = sorted((start for start in rl.starts if start is not None), key=line.index)
    if settings.moderate is None:
        return str(starts[(len(starts) - 1) // 2])
    moderate = graph.resolve("story.moderate", settings.moderate)
    if moderate not in starts:
        raise UserError(
            f"story.moderate: {moderate} is not a start of {rl.name} (allowed: {listed(starts)})"
        )
    return str(moderate)
