"""The graph of stages: read from the configuration, checked, and put in order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from svdrift import plugins
from svdrift.checkpoints import STAGE, Checkpoint, run_name
from svdrift.errors import UserError, choices, explain, listed
from svdrift.section import check_steps
from svdrift.study.data import Data, checkpoint_of, inputs, read_data
from svdrift.study.keys import Every, StageKeys, check_keys, read_keys
from svdrift.study.references import END, Reference, read_reference, starts_of
from svdrift.training.method import ROOM, Method, MethodSettings, load_settings

MOST_KEPT = 10_000
"""Checkpoints that a run may keep: each has jobs of its own."""


@dataclass(frozen=True)
class Stage:
    """A stage of a study, with its references resolved.

    Attributes:
        name: of the stage.
        label: in figures and claims.
        method: name of its method, or the path of a file.
        record: what the graph knows of the method.
        settings: of the method.
        starts: the checkpoints that it starts from; (None,) for a root.
        data: name of what it learns from, if anything.
        steps: the steps that are kept from each start, the end last.
    """

    name: str
    label: str
    method: str
    record: Method
    settings: MethodSettings
    starts: tuple[Checkpoint | None, ...]
    data: str | None
    steps: Mapping[Checkpoint | None, tuple[int, ...]] = field(hash=False)

    def run(self, start: Checkpoint | None) -> str:
        """Name of the run from a start."""
        return run_name(start, self.name)

    def kept(self, start: Checkpoint | None) -> tuple[Checkpoint, ...]:
        """The checkpoints that are kept from a start, the end last."""
        if start is None:
            return (Checkpoint(self.name),)
        return tuple(start.then(self.name, step) for step in self.steps[start])

    @cached_property
    def runs(self) -> dict[str, Checkpoint | None]:
        """Each run's name and start."""
        return {self.run(start): start for start in self.starts}

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints that it keeps."""
        return tuple(kept for start in self.starts for kept in self.kept(start))


class Graph:
    """The stages of a study in an order in which each follows what it needs.

    Attributes:
        stages: by name.
        data: what is made from splits, by name; one described in place has its stage's name.
    """

    def __init__(
        self,
        stages: Mapping[str, Mapping[str, Any] | None],
        data: Mapping[str, Mapping[str, Any] | None],
        splits: tuple[str, ...],
    ) -> None:
        """Read the configuration's `stages` and `data`, where null removes an entry.

        Args:
            stages, data: as they are written.
            splits: names of the task's splits.

        Raises:
            UserError: one line that names the first wrong key.
        """
        self._splits = splits
        self._in_place: set[str] = set()  # names of stages whose data is described in place
        given = {name: keys for name, keys in stages.items() if keys is not None}
        self.data: dict[str, Data] = {}
        for name, described in data.items():
            if described is not None:
                self._add_data(f"data.{name}", name, described, given)
        keys = {name: read_keys(name, stage) for name, stage in given.items()}
        for name, (common, _) in keys.items():
            if isinstance(common.on, dict):
                self._in_place.add(name)
                self._add_data(f"stages.{name}.on", name, common.on, {})
        self._uses = Counter(common.method for common, _ in keys.values())
        self.stages: dict[str, Stage] = {}
        for name in self._order(keys):
            common, own = keys[name]
            self.stages[name] = self._stage(name, common, own)
        for name in self.data:
            self._check_data(name)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages.values())

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints of the study, in order."""
        return tuple(checkpoint for stage in self for checkpoint in stage.checkpoints)

    def maker(self, checkpoint: Checkpoint) -> Stage:
        """The stage that makes a checkpoint."""
        return self.stages[checkpoint.stage]

    def resolve(self, key: str, text: str) -> Checkpoint:
        """The checkpoint that a reference means.

        Raises:
            UserError: naming the key, what is wrong and what is allowed.
        """
        return self._resolve(key, _reference(key, text))

    def reference(self, checkpoint: str) -> str:
        """The reference that means a checkpoint, by its id."""
        found = Checkpoint.parse(checkpoint)
        if found.start is None:
            return found.stage
        own = f"{found.stage}@{found.step}"
        several = len(self.stages[found.stage].starts) > 1
        return f"{own} of {self.reference(str(found.start))}" if several else own

    def leaves(self, data: str) -> tuple[str, ...]:
        """The splits that data is made from, each once."""
        if data not in self.data:
            return (data,)
        found = (leaf for name in inputs(self.data[data]) for leaf in self.leaves(name))
        return tuple(dict.fromkeys(found))

    def check_data_name(self, key: str, data: str) -> None:
        """Check that there is a split, or data, of this name.

        Raises:
            UserError: there is none; the message names the key and the known ones.
        """
        if data not in self._splits and data not in self.data:
            raise UserError(
                f"{key}: {data!r} is neither a split of the task nor named data"
                f"{choices(data, [*self._splits, *self.data])}"
            )

    # ----------------------------------------------------------------------------------
    # Reading

    def _add_data(
        self, key: str, name: str, described: Mapping[str, Any], stages: Mapping[str, Any]
    ) -> None:
        if not re.fullmatch(STAGE, name):
            raise UserError(
                f"{key}: not a name of data (allowed: a-z, 0-9 and _, beginning with a letter)"
            )
        if name in self._splits or name in self.data or name in stages:
            raise UserError(f"{key}: the name {name!r} is taken by a split, a stage or other data")
        self.data[name] = read_data(key, described)

    def _order(self, keys: Mapping[str, tuple[StageKeys, Any]]) -> list[str]:
        """Names of the stages, each after those that it needs."""
        needs = {}
        for name, (common, _) in keys.items():
            mentioned: dict[str, str] = {}  # stage -> the key that mentions it
            for text in _texts(common.start):
                first = starts_of(text)
                stages = (first,) if first else _reference(f"stages.{name}.from", text).stages
                mentioned |= dict.fromkeys(stages, "from")
            if common.matches is not None:
                mentioned[common.matches] = "matches"
            for data in self._made(name if isinstance(common.on, dict) else common.on):
                of = checkpoint_of(self.data[data])
                if of is not None:
                    stages = _reference(self.data_key(data), of).stages
                    mentioned |= dict.fromkeys(stages, "on")
            for other, key in mentioned.items():
                if other not in keys:
                    raise UserError(
                        f"stages.{name}.{key}: there is no stage {other!r}"
                        f"{choices(other, keys, 'stages')}"
                    )
            needs[name] = tuple(mentioned)
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise UserError(f"stages: a circle, in which each needs the next: {circle}") from None
        # Stages keep the order of the configuration as far as they can.
        done: list[str] = []
        while len(done) < len(order):
            done.append(
                next(n for n in keys if n not in done and all(need in done for need in needs[n]))
            )
        return done

    def data_key(self, name: str) -> str:
        """Where the configuration describes data."""
        return f"stages.{name}.on" if name in self._in_place else f"data.{name}"

    def _made(self, data: str | None, seen: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The named data that a data set consists of, itself included."""
        if data is None or data not in self.data:
            return ()
        if data in seen:
            raise UserError(f"{self.data_key(data)}: it is made from itself")
        inner = (one for name in inputs(self.data[data]) for one in self._made(name, (*seen, data)))
        return (data, *inner)

    def _stage(self, name: str, common: StageKeys, own: dict[str, Any]) -> Stage:
        key = f"stages.{name}"
        record, model = _method(key, common.method)
        check_keys(key, own, model)
        starts = self._starts(key, common, record)
        settings = self._settings(key, common, own, model)
        if record.plays and not settings.work.episodes:
            raise UserError(
                f"{key}.method: {common.method} plays episodes, and its settings count none "
                "(wanted: a key `episodes`, those of a step, or a property `work`)"
            )
        return Stage(
            name=name,
            label=common.label or (record.label if self._stands_for(common.method, name) else name),
            method=common.method,
            record=record,
            settings=settings,
            starts=starts,
            data=self._data_of(name, common, record),
            steps=self._steps(key, common, record, starts, settings.total),
        )

    def _starts(self, key: str, common: StageKeys, record: Method) -> tuple[Checkpoint | None, ...]:
        texts = _texts(common.start)
        if not record.starts:
            if texts:
                raise UserError(f"{key}.from: {record.label} makes a model and starts from none")
            return (None,)
        found: list[Checkpoint] = []
        for text in texts:
            stage = starts_of(text)
            if stage is not None:
                found += [start for start in self.stages[stage].starts if start is not None]
            else:
                found.append(self.resolve(f"{key}.from", text))
        if not found:
            raise UserError(f"{key}.from: is missing or empty; name the checkpoint it starts from")
        if len(set(found)) != len(found):
            raise UserError(f"{key}.from: names one checkpoint twice: {listed(found)}")
        return tuple(found)

    def _stands_for(self, method: str, name: str) -> bool:
        """Whether a stage is called like its method, or alone has one of the user's own."""
        own = method not in plugins.names(ROOM, "settings")
        return name == method or (own and self._uses[method] == 1)

    def _settings(
        self, key: str, common: StageKeys, own: dict[str, Any], model: type[MethodSettings]
    ) -> MethodSettings:
        copied: dict[str, Any] = {}
        if common.matches is not None:
            other = self.stages[common.matches]
            try:
                copied = model.matching(other.settings)
            except ValueError as error:
                raise UserError(f"{key}.matches: {common.matches}: {error}") from None
            both = sorted(set(copied) & set(own))
            if both:
                raise UserError(
                    f"{key}.{both[0]}: follows from matches: {common.matches}; leave one out"
                )
        try:
            return model.model_validate(copied | own)
        except ValidationError as error:
            raise UserError(explain(error, model, at=key)) from None

    def _data_of(self, name: str, common: StageKeys, record: Method) -> str | None:
        key = f"stages.{name}.on"
        if record.learns_from != "problems":
            if common.on is not None:
                raise UserError(f"{key}: {record.label} learns from no problems")
            return None
        if common.on is None:
            raise UserError(f"{key}: is missing; name a split or data to learn from")
        data = name if isinstance(common.on, dict) else common.on
        self.check_data_name(key, data)
        return data

    def _steps(
        self,
        key: str,
        common: StageKeys,
        record: Method,
        starts: tuple[Checkpoint | None, ...],
        total: int,
    ) -> dict[Checkpoint | None, tuple[int, ...]]:
        if not record.starts:
            if common.keep != ():
                raise UserError(f"{key}.keep: {record.label} keeps one checkpoint, its end")
            return {None: (total,)}
        if not isinstance(common.keep, Every):
            steps = tuple(common.keep)
            if steps:
                try:
                    check_steps("keep", steps, total)
                except ValueError as error:
                    raise UserError(f"{key}.{error}") from None
            return dict.fromkeys(starts, tuple(sorted({*steps, total})))
        of = [self.resolve(f"{key}.keep.of", text) for text in _texts(common.keep.of)]
        for checkpoint in of:
            if checkpoint not in starts:
                raise UserError(
                    f"{key}.keep.of: {checkpoint} is not among its starts ({listed(starts)})"
                )
        if total // common.keep.every > MOST_KEPT:
            raise UserError(
                f"{key}.keep.every: {common.keep.every} would keep {total // common.keep.every:,} "
                f"checkpoints of {total:,} steps (allowed: at most {MOST_KEPT:,})"
            )
        between = range(common.keep.every, total, common.keep.every)
        return {start: (*between, total) if not of or start in of else (total,) for start in starts}

    # ----------------------------------------------------------------------------------
    # Checking

    def _check_data(self, name: str) -> None:
        key, data = self.data_key(name), self.data[name]
        for used in inputs(data):
            self.check_data_name(key, used)
        self._made(name)
        of = checkpoint_of(data)
        if of is not None:
            self.resolve(key, of)

    def _resolve(self, key: str, reference: Reference) -> Checkpoint:
        stage = self.stages.get(reference.stage)
        if stage is None:
            raise UserError(
                f"{key}: there is no stage {reference.stage!r}"
                f"{choices(reference.stage, self.stages, 'stages')}"
            )
        if not stage.record.starts:
            if reference.step is not None or reference.of is not None:
                raise UserError(
                    f"{key}: {reference}: {stage.name} has one checkpoint; name it alone"
                )
            return Checkpoint(stage.name)
        if reference.step is None:
            raise UserError(f"{key}: {reference}: which step? (such as {stage.name}@{END})")
        starts = stage.starts
        if reference.of is not None:
            start = self._resolve(key, reference.of)
            if start not in starts:
                raise UserError(
                    f"{key}: {stage.name} does not start from {start} (its starts: "
                    f"{listed(starts)})"
                )
        elif len(starts) > 1:
            raise UserError(
                f"{key}: {reference}: {stage.name} has several starts; add `of` one of "
                f"{listed(starts)}"
            )
        else:
            (start,) = starts  # type: ignore[assignment]
        steps = stage.steps[start]
        step = steps[-1] if reference.step == END else int(reference.step)
        if step not in steps:
            raise UserError(
                f"{key}: {reference}: step {step} is not kept (kept: {listed(steps)}; "
                f"see stages.{stage.name}.keep)"
            )
        assert start is not None
        return start.then(stage.name, step)


def _texts(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else given


def _reference(key: str, text: str) -> Reference:
    try:
        return read_reference(text)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _method(key: str, name: str) -> tuple[Method, type[MethodSettings]]:
    try:
        return load_settings(name)
    except UserError as error:
        raise UserError(f"{key}.method: {error}") from None
