"""A whole study: all sections, what they decide together, and how it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, NonNegativeInt, ValidationError, model_validator

from svdrift.checkpoints import ANCHOR
from svdrift.errors import UserError, explain
from svdrift.recovery.grid import expand
from svdrift.settings.compute import UNSUPPORTED, ComputeSettings
from svdrift.settings.evaluation import EvaluationSettings
from svdrift.settings.models import GenerationSettings, ModelSettings
from svdrift.settings.recovery import RecoverySettings, Repair, RepairSettings
from svdrift.settings.section import Section
from svdrift.settings.spectra import LAST, SpectraSettings
from svdrift.settings.task import TaskSettings
from svdrift.settings.training import GRPOSettings, PretrainSettings, RLSettings, SFTSettings


class Settings(Section):
    """A study: everything that decides what is computed, and nothing about machines."""

    study: str = Field(
        "default",
        pattern=r"^[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.=,-]+)?$",  # a sweep has its points below its own
        description="Name of the study; its files live under `results/{study}/`.",
    )
    seeds: tuple[NonNegativeInt, ...] = Field(
        (0,), min_length=1, description="Seeds of the whole study."
    )
    task: TaskSettings = TaskSettings()
    model: ModelSettings = ModelSettings()
    pretrain: PretrainSettings = PretrainSettings()
    sft: SFTSettings = SFTSettings()
    rl: RLSettings = RLSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    generation: GenerationSettings = GenerationSettings()
    spectra: SpectraSettings = SpectraSettings()
    recovery: RecoverySettings = RecoverySettings()
    compute: ComputeSettings = ComputeSettings()

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        lists = {
            "seeds": self.seeds,
            "rl.starts": self.rl_starts,
            "rl.trajectories": self.trajectories,
            **{f"rl.controls.{run}": steps for run, steps in self.control_starts.items()},
        }
        for key, values in lists.items():
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: holds one value twice: {list(values)}")
        missing = sorted(set(self.rl_starts) - set(self.sft.checkpoints))
        if missing:
            raise ValueError(
                f"rl.starts: step {missing[0]} is not an SFT checkpoint (allowed: "
                f"{', '.join(map(str, self.sft.checkpoints))})"
            )
        moderate = self.rl.moderate_start
        lists["rl.moderate_start"] = () if moderate is None else (moderate,)
        for key, steps in lists.items():
            extra = sorted(set(steps) - set(self.rl_starts)) if key != "seeds" else []
            if extra:
                raise ValueError(
                    f"{key}: step {extra[0]} is not among rl.starts (allowed: "
                    f"{', '.join(map(str, self.rl_starts))})"
                )
        if self.model.source != "tiny" and self.task.hands.pretraining_holdout:
            raise ValueError(
                "task.hands.pretraining_holdout: must be 0 when model.source is not 'tiny': "
                "nobody knows what that model was pretrained on"
            )
        if self.sft.batch_size % self.compute.processes:
            raise ValueError(
                f"compute.processes: {self.compute.processes} does not divide sft.batch_size "
                f"{self.sft.batch_size}"
            )
        method, sharding = self.rl.method, self.compute.sharding
        if self.rl.training.minibatch_size % self.compute.processes and self.rl_starts:
            raise ValueError(  # PPO could do with any number, but not the SFT that is its control
                f"compute.processes: {self.compute.processes} does not divide "
                f"rl.{method}.minibatch_size {self.rl.training.minibatch_size}"
            )
        if self.rl_starts and (method, sharding) in UNSUPPORTED:
            raise ValueError(
                f"compute.sharding: '{sharding}' cannot train with rl.method '{method}' "
                "(allowed: 'fsdp2' to shard, 'none'; any in a study with rl.starts: [])"
            )
        if sharding.startswith("zero") and self.model.dtype != "bfloat16":
            raise ValueError(
                f"model.dtype: '{self.model.dtype}' is not what compute.sharding "
                f"'{sharding}' saves (allowed: 'bfloat16'; any with 'none', 'fsdp2')"
            )
        if self.generation.backend == "vllm":
            if self.compute.device != "cuda":
                raise ValueError(
                    "generation.backend: 'vllm' needs a GPU (allowed: 'batched', or compute.gpus: "
                    "1 with compute.use_gpus)"
                )
            if self.compute.processes > 1:
                raise ValueError(
                    "generation.backend: 'vllm' works in jobs of one process, and "
                    f"compute.processes is {self.compute.processes} (allowed: 'batched')"
                )
        return self

    @model_validator(mode="after")
    def _comparisons(self) -> Self:
        for pair in self.pairs.values():
            self._check_checkpoints("spectra.pairs", pair)
        for key, given, named in (
            ("spectra.pairs", self.spectra.pairs, self.pairs),
            ("recovery.repairs", self.recovery.repairs, self.repairs),
        ):
            if given != "standard" and len(named) < len(given):
                raise ValueError(f"{key}: holds two of one name: {', '.join(named)}")
        modules = [name for name, at in self.spectra.patterns.items() if "{layer}" in at]
        for name, repair in self.repairs.items():
            self._check_checkpoints("recovery.repairs", (repair.target, repair.anchor))
            for intervention in repair.interventions:
                place = f"recovery: {intervention.id} of {name}"
                unknown = sorted(set(intervention.modules or ()) - set(modules))
                if unknown:
                    raise ValueError(
                        f"{place}: {unknown[0]!r} is no module of the layers (allowed: "
                        f"{', '.join(modules)})"
                    )
                if self.model.source == "tiny":
                    try:
                        intervention.chosen_layers(self.model.architecture.layers)
                    except UserError as error:
                        raise ValueError(f"{place}: {error}") from None
        return self

    def _check_checkpoints(self, key: str, names: tuple[str, str]) -> None:
        for name in names:
            if name != ANCHOR and name not in self.checkpoints:
                raise ValueError(
                    f"{key}: {name!r} is no checkpoint of this study (allowed: {ANCHOR}, {LAST}, "
                    f"{', '.join(self.checkpoints)})"
                )

    @property
    def sft_checkpoints(self) -> tuple[str, ...]:
        """Ids of the checkpoints along SFT, from the base model on."""
        return ("base", *(f"sft-{step}" for step in self.sft.checkpoints))

    @property
    def rl_checkpoints(self) -> tuple[str, ...]:
        """Ids of RL's results, and of what is evaluated on the way to them."""
        updates = self.rl.training.checkpoint_updates
        return (
            *(self.rl_result(step) for step in self.rl_starts),
            *(f"{self.rl_result(s)}-update-{u}" for s in self.trajectories for u in updates),
        )

    @property
    def control_checkpoints(self) -> tuple[str, ...]:
        """Ids of what the controls of RL end at."""
        runs: dict[str, str] = {"demonstrated": f"demonstrated-{self.rl.method}"}
        return tuple(
            f"{runs.get(control, control)}-from-{step}"
            for control, steps in self.control_starts.items()
            for step in steps
        )

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Ids of all checkpoints that are evaluated."""
        return (*self.sft_checkpoints, *self.rl_checkpoints, *self.control_checkpoints)

    def rl_result(self, step: int) -> str:
        """Id of the checkpoint at which RL from an SFT step ends."""
        return f"{self.rl.method}-from-{step}"

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """Checkpoints (before, after) whose drift is measured, by the pair's name in the settings.

        Each is an id, or `anchor`, which only a job can resolve.
        """
        pairs = self.spectra.pairs
        if pairs == "standard":
            pairs = (
                *(("base", after) for after in self.sft_checkpoints[1:]),
                (ANCHOR, LAST),
                *((f"sft-{step}", self.rl_result(step)) for step in self.rl_starts),
            )
        return {f"{a}-to-{b}": (self._resolve(a), self._resolve(b)) for a, b in pairs}

    @property
    def repairs(self) -> dict[str, Repair]:
        """Repairs by name, `{target}-with-{anchor}` as in the settings; none with an empty grid."""
        repairs, side = self.recovery.repairs, self.recovery.side_interventions
        if repairs == "standard":
            repairs = (RepairSettings(target=LAST, anchor=ANCHOR),)
            if self.rl_starts:
                start, result = f"sft-{self.moderate_start}", self.rl_result(self.moderate_start)
                repairs += (RepairSettings(target=result, anchor=start, interventions=side),)
                if start != self._resolve(LAST):
                    repairs += (RepairSettings(target=start, anchor=ANCHOR, interventions=side),)
        found = {}
        for repair in repairs:
            rows = repair.interventions
            grid = expand(self.recovery.interventions if rows is None else rows)
            target, anchor = self._resolve(repair.target), self._resolve(repair.anchor)
            if grid:
                found[f"{repair.target}-with-{repair.anchor}"] = Repair(target, anchor, grid)
        return found

    def candidates(self, *names: str) -> tuple[str, ...]:
        """Checkpoints that names may stand for, each once; the anchor is chosen on the way."""
        found = (self.sft_checkpoints if name == ANCHOR else (name,) for name in names)
        return tuple(dict.fromkeys(name for group in found for name in group))

    @property
    def update_starts(self) -> tuple[int, ...]:
        """SFT steps at which an update of SFT ends and one of RL begins that are compared."""
        return self.rl_starts if self.pairs else ()

    @property
    def decomposed(self) -> tuple[str, ...]:
        """Ids of the checkpoints whose factors drift, updates and repairs need."""
        return self.candidates(
            *(name for pair in self.pairs.values() for name in pair),
            *(name for plan in self.repairs.values() for name in (plan.target, plan.anchor)),
            *(
                name
                for step in self.update_starts
                for name in ("base", f"sft-{step}", self.rl_result(step))
            ),
        )

    def _resolve(self, name: str) -> str:
        return self.sft_checkpoints[-1] if name == LAST else name

    @property
    def moderate_start(self) -> int:
        """SFT step of the start that figures show as the moderate one."""
        if self.rl.moderate_start is not None:
            return self.rl.moderate_start
        return self.rl_starts[(len(self.rl_starts) - 1) // 2]

    @property
    def named_starts(self) -> dict[str, int]:
        """SFT steps of the first, the moderate and the last start of RL, as the papers name them.

        `short` and `long` are missing where the moderate one is itself the first or the last.
        """
        if not self.rl_starts:
            return {}
        moderate = self.moderate_start
        named = {"short": min(self.rl_starts), "moderate": moderate, "long": max(self.rl_starts)}
        return {n: step for n, step in named.items() if n == "moderate" or step != moderate}

    @property
    def rl_starts(self) -> tuple[int, ...]:
        """SFT steps from which RL starts."""
        return self.sft.checkpoints if self.rl.starts == "all" else self.rl.starts

    @property
    def matched_sft(self) -> SFTSettings:
        """SFT as a control of RL: as many samples and updates, at the same learning rate."""
        rl = self.rl.training
        steps = rl.updates * rl.epochs * (rl.episodes // rl.minibatch_size)
        constant = isinstance(rl, GRPOSettings) or rl.final_learning_rate is None
        return self.sft.model_copy(
            update={
                "checkpoints": (steps,),
                "steps": steps,
                "batch_size": rl.minibatch_size,
                "micro_batch_size": math.gcd(rl.minibatch_size, self.sft.micro_batch_size),
                "learning_rate": rl.learning_rate,
                "schedule": "constant" if constant else "cosine",
                "warmup_steps": 0,
                "freeze_embeddings": rl.freeze_embeddings,
            }
        )

    @property
    def trajectories(self) -> tuple[int, ...]:
        """Starts whose intermediate RL checkpoints are evaluated; none in a study without any."""
        return (
            self.rl.trajectories if self.rl_starts and self.rl.training.checkpoint_updates else ()
        )

    @property
    def control_starts(self) -> dict[str, tuple[int, ...]]:
        """SFT steps from which each control starts; none in a study without RL."""
        return {
            control: self.rl_starts if steps == "all" else steps
            for control, steps in self.rl.controls.items()
            if self.rl_starts
        }


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Validate a configuration (nested plain mappings).

    Raises:
        UserError: one line that names the first offending key, and what is allowed.
    """
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        raise UserError(f"config: {explain(error, Settings)}") from None
