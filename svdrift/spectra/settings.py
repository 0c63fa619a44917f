"""Which weights are decomposed, and which checkpoints are compared."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from svdrift.section import Section
from svdrift.spectra.patterns import DEFAULT_PATTERNS, NAME, pattern_faults

CHECKPOINTS = (
    "Checkpoints are referred to as in `stages` (`base`, `sft@64`, `ppo@end of sft@64`), or by "
    "`anchor` (the OOD peak of the story's path, by selection problems) and `last` (its end)."
)


Null = Literal["isotropic", "inputs_kept", "signs_randomised", "spectrum_kept", "norms_kept"]
"""How an update is drawn anew: the functions of these names in `svdrift.spectra.nulls`."""


class SpectraSettings(Section):
    """Which weight matrices are decomposed, and what is measured between checkpoints."""

    patterns: dict[str, str] = Field(
        DEFAULT_PATTERNS,
        description="Module to regular expression over whole tensor names; `{layer}` stands for "
        "the layer's number, `{expert}` for the expert's. The default stands for the layout of "
        "the model's own `model_type` (docs/command-line.md).",
    )
    factors: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Type in which singular vectors are kept. `bfloat16` takes half the disk, "
        "changes mean angles by 0.02 degrees (by 0.2 at most) and a repaired matrix by 0.3 % "
        "(docs/performance.md); singular values stay in float32.",
    )
    pairs: Literal["standard"] | tuple[tuple[str, str], ...] = Field(
        "standard",
        description=f"Pairs [before, after] whose drift is measured. {CHECKPOINTS} `standard`: "
        "base to every checkpoint of the path, anchor to last, and each start of RL to its result.",
    )
    shares: tuple[float, ...] = Field(
        (0.1, 0.25, 0.5),
        min_length=1,
        description="Sizes of top and bottom subspaces as shares of the full rank.",
    )
    windows: int = Field(10, gt=0, le=1000, description="Windows along each spectrum.")
    nulls: tuple[Null, ...] = Field(
        ("isotropic", "inputs_kept", "signs_randomised"),
        description="How updates are drawn anew, to compare with. `isotropic`: Gaussian noise of "
        "the update's norm, always needed; `inputs_kept`: with its inputs (right singular vectors "
        "and values), outputs random; `signs_randomised`: its energy where it lies in the "
        "singular basis before, signs random; `spectrum_kept`: with its singular values; "
        "`norms_kept`: with the norms of its rows and columns. Each costs a decomposition of "
        "every matrix per draw.",
    )
    draws: int = Field(10, ge=2, le=10_000, description="Random draws per null, for its interval.")

    @model_validator(mode="after")
    def _readable_patterns(self) -> Self:
        if not self.patterns:
            raise ValueError("patterns: none; without any, no matrix is decomposed")
        for module, pattern in self.patterns.items():
            if not re.fullmatch(NAME, module):
                raise ValueError(f"patterns: {module!r} is no name of a module (allowed: a-z0-9_)")
            if fault := pattern_faults(module, pattern):
                raise ValueError(f"patterns.{module}: {fault}")
        return self

    @model_validator(mode="after")
    def _isotropic_once(self) -> Self:
        if "isotropic" not in self.nulls or len(set(self.nulls)) < len(self.nulls):
            raise ValueError(f"nulls: isotropic and others, each once: {list(self.nulls)}")
        return self

    @model_validator(mode="after")
    def _shares_of_a_rank(self) -> Self:
        if not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"shares: of the rank, above 0 and up to 1: {list(self.shares)}")
        return self
