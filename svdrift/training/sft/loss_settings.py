"""The losses of SFT and their settings, each a `kind`. Light, because the Snakefile imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from svdrift.errors import choices, shown
from svdrift.section import Section

LARGEST_LOG = 80.0  # of a weight; exp(88.8) is more than float32 holds
LogBound: TypeAlias = Annotated[float, Field(ge=-LARGEST_LOG, le=LARGEST_LOG)]


class LossSettings(Section):
    """What every loss says of itself."""

    READS_EXPERT: ClassVar[bool] = False
    """Whether it asks how likely each demonstrated token was to the expert who wrote it."""

    kind: str

    @property
    def whole_batch(self) -> bool:
        """Whether it looks at all sequences of a step at once."""
        return False


class NLLSettings(LossSettings):
    """The negative log-likelihood of the reply's tokens: plain SFT."""

    kind: Literal["nll"] = "nll"


class PEARSettings(LossSettings):
    """Tokens weighted by how likely the model is to go on as the expert did (arXiv 2602.01058)."""

    READS_EXPERT = True

    kind: Literal["pear"] = "pear"
    level: Literal["sequence", "token", "block"] = Field(
        "token",
        description="Whose likelihood, the model's against the expert's, weights a token: that of "
        "the whole `sequence`, of all that follows the `token`, or of all that follows its "
        "`block`.",
    )
    block: int | None = Field(
        None, gt=0, le=2**20, description="Tokens of a block (published: 4); of that level alone."
    )
    gamma: float = Field(
        0.999,
        gt=0,
        le=1,
        description="Discount of a weight for each token between it and the end of the reply; not "
        "of the level `sequence`.",
    )
    ratio_clip: tuple[LogBound, LogBound] = Field(
        (-0.08, 0.3),
        description="Bounds of each token's log-ratio, log p(model) - log p(expert).",
    )
    log_weight_clip: tuple[LogBound, LogBound] = Field(
        (-10.0, 5.0), description="Bounds of the logarithm of a weight."
    )
    weights: Literal["own", "permuted", "mean_one"] = Field(
        "own",
        description="Controls: `permuted` among the tokens of a step, or divided by their mean "
        "over them (`mean_one`).",
    )

    @property
    def whole_batch(self) -> bool:
        """See the base class."""
        return self.weights != "own"

    @model_validator(mode="after")
    def _bounds_rise(self) -> Self:
        for key in ("ratio_clip", "log_weight_clip"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: {low:g} lies above {high:g}")
        return self

    @model_validator(mode="after")
    def _block_of_its_level(self) -> Self:
        if (self.block is None) == (self.level == "block"):
            raise ValueError(
                f"block: is {shown(self.block)}, and level is '{self.level}' (allowed: a number of "
                "tokens with level 'block', null with others)"
            )
        return self


class DFTSettings(LossSettings):
    """Tokens weighted by the model's own probability of them (DFT, arXiv 2508.05629)."""

    kind: Literal["dft"] = "dft"


class TrSFTSettings(LossSettings):
    """Tokens of probability p below alpha weighted by p / alpha (TrSFT, arXiv 2512.17636)."""

    kind: Literal["trsft"] = "trsft"
    alpha: float = Field(0.1, gt=0, le=1, description="Probability from which SFT is plain.")


class RPSFTSettings(LossSettings):
    """NLL and a penalty on how far leading singular subspaces turn (RPSFT, arXiv 2605.10973)."""

    kind: Literal["rpsft"] = "rpsft"
    coefficient: float = Field(
        1.0, gt=0, description="Weight of the penalty, a sum over all trained matrices."
    )
    rank: int | None = Field(
        None, gt=0, le=2**20, description="Dimensions of each subspace; null with `whole`."
    )
    subspaces: Literal["leading", "random", "whole"] = Field(
        "leading",
        description="In which the change of a matrix is penalised: those of its largest singular "
        "values at the start. Controls: `random` ones, or the `whole` matrix, which is L2 to the "
        "start.",
    )

    @model_validator(mode="after")
    def _rank_of_subspaces(self) -> Self:
        if (self.rank is None) != (self.subspaces == "whole"):
            raise ValueError(
                f"rank: is {shown(self.rank)}, and subspaces is '{self.subspaces}' (allowed: null "
                "with 'whole', a number of dimensions with others)"
            )
        return self


LOSSES: dict[str, type[LossSettings]] = {
    str(model.model_fields["kind"].default): model
    for model in (NLLSettings, PEARSettings, DFTSettings, TrSFTSettings, RPSFTSettings)
}


def read_loss(given: Any) -> Any:
    """The loss that a mapping describes, by its kind, so that a mistake is explained alone.

    Raises:
        ValueError: the kind or a key is unknown, or (pydantic's) a value is wrong.
    """
    if isinstance(given, LossSettings):
        return given
    if not isinstance(given, Mapping):
        raise PydanticCustomError("loss", "a mapping with a kind")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in LOSSES:
        raise ValueError(f"kind: {shown(kind)} is no loss{choices(kind, LOSSES)}")
    model = LOSSES[kind]
    for name in given:
        if name not in model.model_fields:
            raise ValueError(f"{name}: is no key of '{kind}'{choices(name, model.model_fields)}")
    return model.model_validate(dict(given))


Loss: TypeAlias = Annotated[
    NLLSettings | PEARSettings | DFTSettings | TrSFTSettings | RPSFTSettings,
    BeforeValidator(read_loss),
]
