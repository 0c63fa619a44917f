"""What a stage learns from: a split of the task, or problems made from one.

Each is a table `problems/{name}.parquet` of its own cached job. A stage names it (`on: practice`)
or describes it in place; `data:` gives one a name, for several stages or for a mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError, model_validator

from svdrift.errors import UserError, explain
from svdrift.section import Section


class Replies(Section):
    """What a checkpoint replied to problems, as demonstrations."""

    kind: Literal["replies"] = "replies"
    replies_of: str = Field(description="The checkpoint that replies, such as `ppo@end`.")
    on: str = Field(description="The split, or named data, whose problems it replies to.")
    samples: int = Field(1, gt=0, le=10_000, description="Replies sampled for each problem.")
    temperature: float = Field(
        0.0, ge=0, le=100, description="0 is greedy decoding, for one sample."
    )
    verified: bool = Field(True, description="Keep only replies that the verifier accepts.")
    distinct: bool = Field(True, description="Keep each text once a problem.")
    per_problem: int | None = Field(None, gt=0, description="Most replies kept for a problem.")
    count: int | None = Field(None, gt=0, description="Most replies kept in all, drawn at random.")

    @model_validator(mode="after")
    def _greedy_once(self) -> Replies:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples: several greedy replies are all alike; set a temperature")
        return self


class PassRate(Section):
    """How often a checkpoint solves a problem, and which rates are kept."""

    of: str = Field(description="The checkpoint that is measured.")
    samples: int = Field(16, gt=0, le=10_000, description="Replies sampled for each problem.")
    temperature: float = Field(1.0, gt=0, le=100, description="Of sampling.")
    at_least: float = Field(0.0, ge=0, le=1, description="Lowest rate that is kept.")
    at_most: float = Field(1.0, ge=0, le=1, description="Highest rate that is kept.")

    @model_validator(mode="after")
    def _ordered(self) -> PassRate:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least: {self.at_least} lies above at_most {self.at_most}")
        return self


class Filter(Section):
    """Problems that a checkpoint solves neither too rarely nor too often: `on` and `pass_rate`."""

    kind: Literal["filter"] = "filter"
    on: str = Field(description="The split, or named data, that is filtered.")
    pass_rate: PassRate


class Mixture(Section):
    """Problems of several sets, in given shares."""

    kind: Literal["mixture"] = "mixture"
    mix: dict[str, float] = Field(min_length=1, description="Split or named data -> its share.")
    count: int | None = Field(
        None, gt=0, description="Problems in all; none for as many as the shares allow."
    )

    @model_validator(mode="after")
    def _shares(self) -> Mixture:
        if any(share <= 0 for share in self.mix.values()) or abs(sum(self.mix.values()) - 1) > 1e-9:
            raise ValueError(f"mix: shares must be above 0 and add up to 1: {self.mix}")
        return self


class Variant(Section):
    """The problems of a split under another rule or target, such as `{on: practice, target: 20}`.

    Beside `on` stand settings of the task; each task says which of them can vary.
    """

    kind: Literal["variant"] = "variant"
    on: str = Field(description="The split whose problems vary.")
    changes: dict[str, Any] = Field(description="Settings of the task, such as `rule: faces`.")


class Expert(Section):
    """Demonstrations by another expert than the task's own, who always gives the gold reply."""

    kind: Literal["expert"] = "expert"
    on: str = Field(description="The split, or named data, whose problems are demonstrated.")
    expert: Literal["uniform"] = Field(
        description="`uniform`: one of all right replies that the task can list, each as likely."
    )


Data: TypeAlias = Replies | Filter | Mixture | Variant | Expert


def read_data(key: str, given: Mapping[str, Any]) -> Data:
    """Data as the configuration describes it, by the keys that are given.

    Raises:
        UserError: naming the key, what is wrong and what is allowed.
    """
    kinds: dict[str, type[Data]] = {
        "replies_of": Replies,
        "pass_rate": Filter,
        "mix": Mixture,
        "expert": Expert,
    }
    found = [kind for name, kind in kinds.items() if name in given]
    try:
        if len(found) > 1:
            names = [name for name in kinds if name in given]
            raise UserError(f"{key}: {' and '.join(names)} are different kinds of data; name one")
        if found:
            return found[0].model_validate(dict(given))
        changes = {name: value for name, value in given.items() if name != "on"}
        if not changes:
            raise UserError(
                f"{key}: {dict(given)} (allowed: a name, or a mapping with replies_of, pass_rate, "
                "mix, expert, or a split `on` and what varies)"
            )
        return Variant.model_validate(
            {name: given[name] for name in ("on",) if name in given} | {"changes": changes}
        )
    except ValidationError as error:
        raise UserError(explain(error, found[0] if found else Variant, at=key)) from None


def inputs(data: Data) -> tuple[str, ...]:
    """Names of the splits or data that it is made from."""
    return tuple(data.mix) if isinstance(data, Mixture) else (data.on,)


def checkpoint_of(data: Data) -> str | None:
    """The reference to the checkpoint that it takes; None if it takes none."""
    if isinstance(data, Replies):
        return data.replies_of
    return data.pass_rate.of if isinstance(data, Filter) else None
