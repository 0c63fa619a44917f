"""Which intervention to take, by the loss of a text: the candidates, and what came of them.

What is chosen on one half of a text is reported on the other, which chose nothing. Plain
interpolation of the weights is chosen the same way beside it, among as many blocks of layers,
because it is often as good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from svdrift.evaluation.accuracy import Floats
from svdrift.recovery import kind as kinds
from svdrift.recovery.grid import expand
from svdrift.recovery.interventions import Intervention

RANKS = (0.1, 0.2, 0.5, 1.0)
LAYERS = ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0))
WEIGHTS = (0.25, 0.5, 0.75)
PLAIN = "interpolate"
AUTO_SHARE = 0.2
"""What `svdrift recover --ranks auto` takes of every matrix: a uniform share, as published (arXiv
2508.16546). A rule with a share of its own for each matrix replaces it when a study shows one that
is clearly better (docs/ranks.md)."""
TARGET, ANCHOR, CHOSEN, INTERPOLATION = "target", "anchor", "chosen", "interpolation"
REPORTED = TARGET, ANCHOR, CHOSEN, INTERPOLATION  # whose loss on the other half is reported
HALVES = {  # of `svdrift.evaluation.texts.halves`: what chooses, and what reports
    "documents": ("every other document of the text (the first, the third, …)", "the others"),
    "windows": ("the first half of the text's only document", "its second half"),
}


def candidates(
    kind: str,
    depth: int,
    *,
    top: float | None = None,
    bottom: float = 0.0,
    layers: tuple[float, float] | None = None,
    weight: float | None = None,
    modules: Sequence[str] | None = None,
    embedding_and_head: bool = True,
    seed: int = 0,
) -> tuple[Intervention, ...]:
    """Every intervention of a kind that agrees with what is given; what is None is tried.

    Args:
        kind: its name, or the path of its file.
        depth: layers of the models; blocks that hold none of them are not tried.
        top, bottom, layers, weight, modules, embedding_and_head, seed: see `Intervention`.

    Raises:
        UserError: a value is out of range or does not belong to the kind.
    """
    record = kinds.kind(kind)
    blocks = [list(block) for block in LAYERS if _holds_layers(block, depth)]
    row = {
        "kind": kind,
        "layers": blocks if layers is None else list(layers),
        "modules": None if modules is None else list(modules),
        "embedding_and_head": embedding_and_head,
        "seed": seed,
        "bottom": bottom,
    }
    if record.ranked:
        row["top"] = [share for share in RANKS if share + bottom <= 1] if top is None else top
    elif top is not None:
        row["top"] = top
    if record.weighted:
        row["weight"] = list(WEIGHTS) if weight is None else weight
    elif weight is not None:
        row["weight"] = weight
    return expand([row])


def interpolations(those: Sequence[Intervention], *weights: float) -> tuple[Intervention, ...]:
    """Plain interpolation at some weights, of the same modules in the same blocks of layers.

    Args:
        those: interventions that agree in their modules.
        weights: of the anchor.
    """
    return tuple(
        Intervention(
            PLAIN,
            weight=weight,
            layers=layers,
            modules=those[0].modules,
            embedding_and_head=those[0].embedding_and_head,
        )
        for layers in dict.fromkeys(one.layers for one in those)
        for weight in weights
    )


def lowest(losses: Mapping[Intervention, Floats]) -> Intervention:
    """The intervention with the lowest loss over all windows; of equals the first."""
    return min(losses, key=lambda one: float(losses[one].sum()))


def in_words(
    chosen: Intervention,
    plain: Intervention,
    tried: int,
    rivals: int,
    selection: pd.DataFrame,
    held_out: pd.DataFrame,
    against_plain: pd.Series,
    kind: str,
) -> list[str]:
    """What was chosen, what it gives on the other half, and whether interpolation does as well.

    Args:
        chosen: the intervention.
        plain: the interpolation that was chosen the same way.
        tried: number of candidates.
        rivals: number of interpolations.
        selection: `loss_table` of the half that chose, with rows TARGET and CHOSEN.
        held_out: of the other half, compared with TARGET: rows TARGET, ANCHOR, CHOSEN and
            INTERPOLATION.
        against_plain: row of CHOSEN on the other half, compared with INTERPOLATION.
        kind: what `n` counts.
    """
    repaired = held_out[held_out["model"] == CHOSEN].iloc[0]
    before, after = selection.set_index("model"), held_out.set_index("model")
    chose, reports = HALVES[kind]
    lines = [
        f"Chosen on {chose}: {chosen.id}, the best of {tried} with a loss of "
        f"{before['loss'][CHOSEN]:.4f} (the target's is {before['loss'][TARGET]:.4f}).",
        f"On {reports}, which chose nothing "
        f"(n = {repaired['n']} {kind}): {_loss(repaired)}; the target's is "
        f"{after['loss'][TARGET]:.4f}, the anchor's {after['loss'][ANCHOR]:.4f}.",
    ]
    anchor = held_out[held_out["model"] == ANCHOR].iloc[0]
    if not anchor["difference_high"] < 0:
        lines.append(
            "The anchor's loss on this text is not clearly below the target's: the text does not "
            "show what was lost, and a repair that is chosen on it need not bring it back."
        )
    if chosen.kind == PLAIN:
        return lines
    low, high = against_plain["difference_low"], against_plain["difference_high"]
    if high < 0:
        verdict = "the chosen repair has the lower loss"
    elif low > 0:
        verdict = "plain interpolation has the lower loss (--kind interpolate)"
    else:
        verdict = "no clear difference, and plain interpolation is simpler (--kind interpolate)"
    return [
        *lines,
        f"Plain interpolation, {plain.id}, the best of {rivals} chosen the same way, gives "
        f"{after['loss'][INTERPOLATION]:.4f}; chosen minus that: "
        f"{against_plain['difference']:+.4f} [{low:+.4f}, {high:+.4f}]: {verdict}.",
    ]


def _loss(row: pd.Series) -> str:
    return (
        f"{row['loss']:.4f} nats per token, {row['difference']:+.4f} "
        f"[{row['difference_low']:+.4f}, {row['difference_high']:+.4f}] from the target's"
    )


def _holds_layers(block: tuple[float, float], depth: int) -> bool:
    """Whether `Intervention.chosen_layers` finds a layer in a block."""
    start, stop = (int(share * depth + 0.5) for share in block)
    return start < stop
