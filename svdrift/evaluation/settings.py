"""How checkpoints are evaluated. Light, because the Snakefile imports it."""

from __future__ import annotations

from pydantic import Field

from svdrift.section import Section


class EvaluationSettings(Section):
    """How checkpoints are evaluated on the saved problems."""

    UNTRACKED = frozenset({"batch_size"})

    tries: int = Field(5, ge=1, le=5, description="Tries per problem in the multi-try splits.")
    multi_try_splits: tuple[str, ...] = Field(
        (),
        description="Splits evaluated with several tries, at about six times the cost; all "
        "others with one.",
    )
    temperature: float = Field(0.0, ge=0, le=100, description="0 is greedy decoding.")
    batch_size: int = Field(512, gt=0, le=2**20, description="Problems decoded at once.")
