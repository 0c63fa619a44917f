"""A whole study: the settings of all rooms, what they decide together, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from svdrift.checkpoints import ANCHOR, LAST
from svdrift.compute import ComputeSettings
from svdrift.errors import UserError, choices, explain, explained, listed, shown
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.findings.paper import short
from svdrift.live import Tool
from svdrift.models.settings import GenerationSettings, ModelSettings
from svdrift.ranks.settings import RanksSettings
from svdrift.recovery.grid import expand
from svdrift.recovery.settings import RecoverySettings, Repair, RepairSettings
from svdrift.section import Section, Seed
from svdrift.spectra.settings import SpectraSettings
from svdrift.story import Story
from svdrift.study import names
from svdrift.study.data import Variant, checkpoint_of
from svdrift.study.early_stopping import check_early_stopping
from svdrift.study.experts import check_experts
from svdrift.study.lora import check_lora
from svdrift.study.overlays import with_on
from svdrift.study.plays import play_settings
from svdrift.study.probes import Plan, read_paper, read_probes
from svdrift.study.ranks import read_ranks
from svdrift.study.stages import Graph, Stage
from svdrift.study.story import StorySettings, resolve_story
from svdrift.study.task_fit import check_root, check_splits
from svdrift.tasks import load_settings as load_task
from svdrift.tasks.base import TaskSettings
from svdrift.tasks.splits import Split

SIZED_RULES = (
    *("evaluate", "decompose", "measure_drift", "measure_updates"),
    *("recover", "export_recovered", "choose_ranks"),
)
"""Rules beside those of stages and data whose jobs grow with the model."""


class Settings(Section):
    """A study: everything that decides what is computed, and nothing about machines."""

    study: str = Field(
        "default",
        json_schema_extra={"pattern": names.STUDY},
        description="Name of the study; its files live under `results/{study}/`.",
    )
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, description="Seeds of the whole study.")
    task: SerializeAsAny[TaskSettings] = Field(
        default_factory=lambda: load_task("general_points").Settings(),
        description="The verifiable task, by its `name`.",
    )
    model: ModelSettings = ModelSettings()
    data: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict,
        description="Named data for stages: name -> what it is made from; null removes one.",
    )
    stages: dict[str, dict[str, Any] | None] = Field(
        description="The training stages by name; null removes one."
    )
    story: StorySettings
    comparisons: tuple[tuple[str, str], ...] = Field(
        (),
        description="Further pairs [a, b] of checkpoints whose accuracies are compared, paired on "
        "the same problems. Each result of the story's RL is always compared with its start, and "
        "with each control from that start.",
    )
    evaluation: EvaluationSettings = EvaluationSettings()
    generation: GenerationSettings = GenerationSettings()
    spectra: SpectraSettings = SpectraSettings()
    recovery: RecoverySettings = RecoverySettings()
    ranks: dict[str, RanksSettings | None] = Field(
        {}, description="Choices of a rank for each matrix, by name; null removes one."
    )
    probes: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict,
        description="What is measured on checkpoints without training them, by name; null removes "
        "one.",
    )
    papers: tuple[str, ...] = Field(
        (),
        description="Related papers (`svdrift/findings/papers/`, or paths of .py files of your "
        "own) whose claims are judged.",
    )
    compute: ComputeSettings = ComputeSettings()
    tracking: Tool | None = Field(
        None,
        description="Where training shows its metrics while it runs, beside a CSV (docs/cluster.md)"
        ". Never part of a result: changing it reruns nothing. A tracker must be installed.",
    )

    @field_validator("study")
    @classmethod
    def _names_a_folder_of_its_own(cls, name: str) -> str:
        try:
            names.check_study(name)
        except UserError as error:
            raise explained(str(error)) from None
        return name

    @field_validator("stages", "data", "probes", mode="before")
    @classmethod
    def _on_is_a_key(cls, given: Any) -> Any:
        return with_on(given)

    @field_validator("task", mode="before")
    @classmethod
    def _of_its_own_class(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        try:
            name = given.get("name", "general_points")
            if not isinstance(name, str):
                raise UserError(f"must be text, not {shown(name)}")
            model = load_task(name).Settings
        except UserError as error:
            raise ValueError(f"name: {error}") from None
        try:
            return model.model_validate(dict(given))
        except ValidationError as error:
            raise explained(explain(error, model, at="task")) from None

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        try:
            self._check()
        except UserError as error:
            raise explained(str(error)) from None
        return self

    def _check(self) -> None:
        if len(set(self.seeds)) != len(self.seeds):
            raise UserError(f"seeds: holds one value twice: {listed(self.seeds)}")
        resolved = self.resolved_story, self.pairs, self.repairs, self.compared
        chosen = self.rank_choices, self.evidence
        del resolved, chosen  # each of them may have refused
        for stage in self.graph:
            self._check_stage(stage)
        check_experts(self.graph, self.task.name)
        names.check_lengths((*self.checkpoints, *self.pairs, *self.repairs, *self.split_names))
        for name, data in self.graph.data.items():
            if isinstance(data, Variant):
                key = self.graph.data_key(name)
                if data.on not in self.split_names:
                    raise UserError(
                        f"{key}: {data.on!r} is not a split of the task, whose rules could vary "
                        f"(allowed: {', '.join(self.split_names)})"
                    )
                try:
                    self.task.vary(**data.changes)
                except UserError as error:
                    raise UserError(f"{key}: {error}") from None
        allowed = [
            *(f"train_{stage.name}" for stage in self.graph),
            *(f"derive_{name}" for name in self.asked),
            *(f"probe_{name}" for name in self.probed),
            *SIZED_RULES,
        ]
        for rule in self.compute.resources:
            if rule not in allowed:
                raise UserError(
                    f"compute.resources: {rule!r} is no rule whose jobs grow with the model"
                    f"{choices(rule, allowed)}"
                )
        check_splits(self.task)
        evaluated = [split.name for split in self.evaluated_splits]
        for several in self.evaluation.multi_try_splits:
            if several not in evaluated:
                raise UserError(
                    f"evaluation.multi_try_splits: {several!r} is not evaluated"
                    f"{choices(several, evaluated)}"
                )
        if self.compute.sharding.startswith("zero") and self.model.dtype != "bfloat16":
            raise UserError(
                f"model.dtype: '{self.model.dtype}' is not what compute.sharding "
                f"'{self.compute.sharding}' saves (allowed: 'bfloat16'; any with 'none', 'fsdp2')"
            )
        self._check_backend()
        self._check_interventions()

    def _check_stage(self, stage: Stage) -> None:
        check_lora(stage, self.graph, self.compute, self.generation)
        check_early_stopping(stage, self.task.splits, self.compute)
        check_root(stage, self.task)
        if not stage.record.launched:
            return
        try:
            stage.settings.check_processes(self.compute.processes)
        except ValueError as error:
            raise UserError(f"compute.processes: stages.{stage.name}.{error}") from None
        if self.compute.sharding not in stage.record.sharding:
            raise UserError(
                f"compute.sharding: '{self.compute.sharding}' cannot train stages.{stage.name} by "
                f"{stage.record.label} (allowed: {', '.join(sorted(stage.record.sharding))})"
            )

    def _check_backend(self) -> None:
        if self.generation.backend != "vllm":
            return
        if self.compute.device != "cuda":
            raise UserError(
                "generation.backend: 'vllm' needs a GPU (allowed: 'batched', or compute.gpus: 1 "
                "with compute.use_gpus)"
            )
        if self.compute.processes > 1:
            raise UserError(
                "generation.backend: 'vllm' works in jobs of one process, and compute.processes is "
                f"{self.compute.processes} (allowed: 'batched')"
            )

    def _check_interventions(self) -> None:
        modules = [name for name, at in self.spectra.patterns.items() if "{layer}" in at]
        layers = self.layers
        for name, repair in self.repairs.items():
            for intervention in repair.interventions:
                place = f"recovery: {intervention.id} of {name}"
                unknown = sorted(set(intervention.modules or ()) - set(modules))
                if unknown:
                    raise UserError(
                        f"{place}: {unknown[0]!r} is no module of the layers"
                        f"{choices(unknown[0], modules)}"
                    )
                if layers is not None:
                    try:
                        intervention.chosen_layers(layers)
                    except UserError as error:
                        raise UserError(f"{place}: {error}") from None

    # ----------------------------------------------------------------------------------
    # The graph and what is derived from it

    @cached_property
    def graph(self) -> Graph:
        """The stages in order, and the data that they learn from."""
        return Graph(self.stages, self.data, tuple(self.split_names))

    @cached_property
    def resolved_story(self) -> Story:
        """The story by checkpoint ids."""
        return resolve_story(self.story, self.graph)

    def check_files(self) -> None:
        """Check early what stages read from outside the configuration.

        Raises:
            UserError: naming the stage and its key.
        """
        for stage in self.graph:
            try:
                stage.settings.check_files()
            except UserError as error:
                raise UserError(f"stages.{stage.name}.{error}") from None

    @property
    def split_names(self) -> list[str]:
        """Names of the task's splits."""
        return [split.name for split in self.task.splits]

    @property
    def evaluated_splits(self) -> tuple[Split, ...]:
        """The splits that checkpoints are evaluated on."""
        return tuple(split for split in self.task.splits if split.role != "training")

    @property
    def repaired_splits(self) -> tuple[Split, ...]:
        """The splits that repaired models are evaluated on."""
        roles = ("fit", "test", *(["selection"] if self.recovery.on_selection else []))
        return tuple(split for split in self.task.splits if split.role in roles)

    @cached_property
    def asked(self) -> dict[str, str]:
        """Id of the checkpoint that data is made by, of the data that takes one."""
        found = {name: checkpoint_of(data) for name, data in self.graph.data.items()}
        return {
            name: str(self.graph.resolve(self.graph.data_key(name), of))
            for name, of in found.items()
            if of is not None
        }

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Ids of all checkpoints, each of which is evaluated."""
        return tuple(map(str, self.graph.checkpoints))

    @property
    def layers(self) -> int | None:
        """Number of layers of the models, where the configuration says it."""
        base = self.graph.maker(self.graph.checkpoints[0]).settings
        architecture = getattr(base, "architecture", None)
        return None if architecture is None else int(architecture.layers)

    def named(self, key: str, name: str) -> str:
        """Id of a checkpoint that a comparison names: a reference, `last`, or `anchor` itself.

        Raises:
            UserError: naming the key, what is wrong and what is allowed.
        """
        if name == ANCHOR:
            return ANCHOR
        return self.resolved_story.last if name == LAST else str(self.graph.resolve(key, name))

    def _short(self, key: str, name: str) -> str:
        """How a comparison is named after one of its checkpoints."""
        return name if name in (ANCHOR, LAST) else self.named(key, name)

    @cached_property
    def compared(self) -> tuple[tuple[str, str], ...]:
        """Pairs of ids whose accuracies are compared: the story's, and further ones."""
        story = self.resolved_story
        found = [
            (result, other)
            for start, result in (story.rl.results if story.rl else {}).items()
            for other in [
                start,
                *(role.results[start] for role in story.controls if start in role.results),
            ]
        ]
        for pair in self.comparisons:
            a, b = (str(self.graph.resolve("comparisons", name)) for name in pair)
            found.append((a, b))
        return tuple(dict.fromkeys(found))

    @cached_property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """Checkpoints (before, after) whose drift is measured, by the pair's name.

        Each is an id, or `anchor`, which only a job can resolve.
        """
        key, story = "spectra.pairs", self.resolved_story
        if self.spectra.pairs == "standard":
            found = {f"{story.base}-to-{after}": (story.base, after) for after in story.path[1:]}
            found[f"{ANCHOR}-to-{LAST}"] = (ANCHOR, story.last)
            results = story.rl.results if story.rl else {}
            return found | {f"{a}-to-{b}": (a, b) for a, b in results.items()}
        given = self.spectra.pairs
        found = {
            f"{self._short(key, a)}-to-{self._short(key, b)}": (
                self.named(key, a),
                self.named(key, b),
            )
            for a, b in given
        }
        if len(found) < len(given):
            raise UserError(f"{key}: holds two of one name: {listed(found)}")
        return found

    @cached_property
    def repairs(self) -> dict[str, Repair]:
        """Repairs by name, `{target}-with-{anchor}`; none with an empty grid."""
        key, given = "recovery.repairs", self.recovery.repairs
        plans = self._standard_repairs() if given == "standard" else given
        found = {}
        for plan in plans:
            rows = plan.interventions
            grid = expand(self.recovery.grid if rows is None else rows)
            name = f"{self._short(key, plan.target)}-with-{self._short(key, plan.anchor)}"
            if name in found:
                raise UserError(f"{key}: holds two of one name: {name}")
            if grid:
                target, anchor = self.named(key, plan.target), self.named(key, plan.anchor)
                found[name] = Repair(target, anchor, grid)
        return found

    def _standard_repairs(self) -> tuple[RepairSettings, ...]:
        story, side = self.resolved_story, self.recovery.side_interventions
        plans: tuple[RepairSettings, ...] = (RepairSettings(target=LAST, anchor=ANCHOR),)
        if story.rl is not None and story.moderate is not None:
            start = self.graph.reference(story.moderate)
            result = self.graph.reference(story.rl.results[story.moderate])
            plans += (RepairSettings(target=result, anchor=start, interventions=side),)
            if story.moderate != story.last:
                plans += (RepairSettings(target=start, anchor=ANCHOR, interventions=side),)
        return plans

    def candidates(self, *names: str) -> tuple[str, ...]:
        """Checkpoints that names may stand for, each once; the anchor is chosen on the way."""
        anchors = self.resolved_story.candidates
        found = (anchors if name == ANCHOR else (name,) for name in names)
        return tuple(dict.fromkeys(name for group in found for name in group))

    @cached_property
    def probed(self) -> dict[str, Plan]:
        """The probes by name."""
        return read_probes(
            self.probes, self.graph, self.resolved_story, self.evaluated_splits, self.task.name
        )

    @cached_property
    def rank_choices(self) -> dict[str, RanksSettings]:
        """The choices of ranks by name, with ids of their checkpoints."""
        return read_ranks(self.ranks, self.named)

    @cached_property
    def evidence(self) -> dict[str, dict[str, str]]:
        """Of each paper, what it reads: names of this study's probes by their kind."""
        study = self.resolved_story, self.probed, self.rank_choices
        chosen = self.recovery.on_selection and bool(self.repairs)
        if len(set(map(short, self.papers))) < len(self.papers):
            raise UserError(f"papers: names one twice: {listed(self.papers)}")
        return {name: read_paper(name, *study, repairs_on_selection=chosen) for name in self.papers}

    @property
    def update_starts(self) -> tuple[str, ...]:
        """Ids of RL's starts, where the update up to there is compared with RL's own."""
        return self.resolved_story.starts if self.pairs else ()

    @property
    def decomposed(self) -> tuple[str, ...]:
        """Ids of the checkpoints whose factors drift, updates and repairs need."""
        story = self.resolved_story
        results = story.rl.results if story.rl else {}
        return self.candidates(
            *(name for pair in self.pairs.values() for name in pair),
            *(name for plan in self.repairs.values() for name in (plan.target, plan.anchor)),
            *(name for choice in self.rank_choices.values() for name in choice.checkpoints),
            *(name for start in self.update_starts for name in (story.base, start, results[start])),
        )

    def play_settings(self, *data: str, rewards: bool = True) -> dict[str, Any]:
        """What playing problems of these splits or data takes from the task; see `plays`."""
        return play_settings(self.task, self.graph, data, rewards=rewards)


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Validate a configuration (nested plain mappings).

    Raises:
        UserError: one line that names the first offending key, and what is allowed.
    """
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        raise UserError(f"config: {explain(error, Settings)}") from None
