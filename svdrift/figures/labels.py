"""What figures call things and how each looks: splits, stages, modules, nulls, repairs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svdrift.checkpoints import BASE, Checkpoint
from svdrift.figures import style
from svdrift.figures.style import (
    BLACK,
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
)
from svdrift.spectra.excess import NULL_NAMES
from svdrift.story import Role, Story

# Kinds of intervention in the order of the papers; others follow by name.
KINDS = ("directions", "triplets", "values", "random_directions", "interpolate", "reset")

# ---------------------------------------------------------------------- splits

FIT, ID, OOD = ("fit", "id"), ("test", "id"), ("test", "ood")  # (role, shift)
ROLES = {"fit": "fitted problems", "test": "test", "selection": "held out"}
SPLIT_COLOURS = {FIT: SKY, ID: BLUE, OOD: RED}
FURTHER_COLOURS = (PURPLE, GREEN, ORANGE, GREY, BLACK)

# ---------------------------------------------------------------------- stages

PATH_COLOUR, PATH_MARKER = BLACK, "o"
# Not those of ID and OOD.
RL_COLOUR, RL_MARKER = PURPLE, "s"
CONTROL_COLOURS = (SKY, GREEN, ORANGE, GREY, YELLOW, BROWN)
CONTROL_MARKERS = ("^", "D", "v", "P", "X", "*")

# ---------------------------------------------------------------------- weights and repairs

MODULES = ("q", "k", "v", "o", "gate", "up", "down", "embedding", "head")  # as in the model
SIDE_LABELS = {"left": "left (U)", "right": "right (V)"}
SIDE_COLOURS = {"left": BLACK, "right": ORANGE}
SIDE_OPTIONS: dict[str, dict[str, Any]] = {  # where both coincide, both are seen
    "left": {"lw": 1.8, "ms": 3.4},
    "right": {"lw": 0.9, "ms": 1.8},
}
NULL_LABELS = {"observed": "observed", **NULL_NAMES, "random": "two unrelated matrices"}
NULL_LINES = {"observed": "-", "isotropic": "--", "inputs_kept": "-.", "random": ":"}
END_LABELS = {"target": "target, before the repair", "anchor": "anchor"}
END_LINES = {"target": ":", "anchor": "--"}
END_MARKERS = {"target": "P", "anchor": "*"}


def split(role: str, shift: str) -> str:
    """`ID test`, `OOD test`, `ID, fitted problems`, `OOD test, odd` for a further shift `odd`."""
    if role not in ROLES:
        raise KeyError(f"{role}: a role without a label (known: {', '.join(ROLES)})")
    name = ROLES[role]
    further = "" if shift in ("id", "ood") else f", {shift}"
    distribution = "ID" if shift == "id" else "OOD"
    return (
        f"{distribution} {name}{further}" if role == "test" else f"{distribution}, {name}{further}"
    )


def split_colours(places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A colour for each (role, shift); shifts beyond the story's OOD get further ones in order."""
    places = list(places)
    further = [place for place in places if place not in SPLIT_COLOURS]
    if len(further) > len(FURTHER_COLOURS):
        raise ValueError(f"at most {len(FURTHER_COLOURS)} further splits have colours: {further}")
    return SPLIT_COLOURS | dict(zip(further, FURTHER_COLOURS, strict=False))


def tests(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The test splits of a table: ID, OOD, then further shifts in the table's order."""
    found = dict.fromkeys(table.loc[table["role"] == "test", "shift"])
    order = [shift for shift in ("id", "ood") if shift in found]
    return [("test", s) for s in dict.fromkeys([*order, *found])]


@dataclass(frozen=True)
class Look:
    """A stage with a part in the story, and how figures draw it."""

    role: Role
    colour: str
    marker: str


def ends(story: Story) -> list[Look]:
    """RL and its controls in the story's order, each with its look."""
    if len(story.controls) > len(CONTROL_COLOURS):
        raise ValueError(f"at most {len(CONTROL_COLOURS)} controls can be told apart")
    looks = zip(story.controls, CONTROL_COLOURS, CONTROL_MARKERS, strict=False)
    rl = [Look(story.rl, RL_COLOUR, RL_MARKER)] if story.rl else []
    return rl + [Look(*look) for look in looks]


def silent(signals: pd.DataFrame | None, story: Story) -> dict[str, str]:
    """RL's starts from which runs had no reward signal, and how many: `2 of 5`.

    Args:
        signals: of `svdrift.evaluation.signals`; None where RL's method logs no rewards.
        story: its RL.
    """
    rl, found = rl_of(story), dict[str, str]()
    if signals is None:
        return found
    for start in rl.results:
        runs = signals[(signals["stage"] == rl.stage) & (signals["start"] == start)]
        if mute := int((~runs["had_signal"]).sum()):
            found[start] = f"{mute} of {len(runs)}"
    return found


def silence(found: Mapping[str, str]) -> str:
    """The same as a sentence of a note."""
    runs = ", ".join(f"{count} runs from {start}" for start, count in found.items())
    return f" Hollow: without a reward signal in {runs}." if found else ""


def rl_of(story: Story) -> Role:
    """RL's part.

    Raises:
        ValueError: the story has none.
    """
    if story.rl is None:
        raise ValueError("this figure needs a story with RL")
    return story.rl


def stage(story: Story, name: str) -> str:
    """A stage's label, or its name if it has none."""
    return story.labels.get(name, name)


def checkpoint(story: Story, name: str) -> str:
    """`SFT 64, PPO 60` for `sft-64.ppo-60`: the stages passed by their labels, with steps."""
    read = Checkpoint.parse(name)
    root = [stage(story, read.root)] if read.root != BASE or not read.way else []
    return ", ".join(root + [f"{stage(story, part)} {step}" for part, step in read.way])


# ---------------------------------------------------------------------- words under figures

PUBLISHED_TITLE = "Published: Llama 11B, OOD"
PUBLISHED = "Published: 234 problems of the card game, no intervals given"
PUBLISHED_STEP = "step"  # column of the published curve


def several(table: pd.DataFrame) -> bool:
    """Whether there are several seeds, so that single ones are drawn too."""
    return int(table["seed"].dropna().nunique()) > 1


def seeds(table: pd.DataFrame) -> str:
    """`1 seed`, `3 seeds`."""
    count = table["seed"].dropna().nunique()
    return f"{count} seed" if count == 1 else f"{count} seeds"


def singles(table: pd.DataFrame, what: str = "thin lines") -> str:
    """`; thin lines: single seeds` where there are several, else nothing."""
    return f"; {what}: single seeds" if several(table) else ""


def intervals(table: pd.DataFrame, what: str = "Bands") -> str:
    """`Bands: 95 % intervals over problems, clustered by group`."""
    mean = ", averaged over seeds" if several(table) else ""
    return f"{what}: 95 % intervals over problems, clustered by group{mean}"


def size(table: pd.DataFrame) -> str:
    """The number of problems in column `n`: `1,000`, or `980 to 1,000` where rows differ."""
    low, high = table["n"].min(), table["n"].max()
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def sample(table: pd.DataFrame) -> str:
    """`n = 1,000 problems a seed (ID test; OOD test); 3 seeds`, from an accuracy table."""
    splits: dict[str, list[str]] = {}
    for (role, shift), part in table.groupby(["role", "shift"], sort=False):
        splits.setdefault(size(part), []).append(split(str(role), str(shift)))
    a_seed = " a seed" if several(table) else ""
    parts = [f"{n} problems{a_seed} ({'; '.join(names)})" for n, names in splits.items()]
    return f"n = {', '.join(parts)}; {seeds(table)}"


def between(pair: str) -> str:
    """`anchor to last`, of the pair `anchor-to-last`."""
    return pair.replace("-to-", " to ")


def matrices(table: pd.DataFrame) -> str:
    """`n = 28 matrices, anchor to last; 3 seeds`, from a table of drift."""
    count = len(table[["layer", "module"]].drop_duplicates())
    pairs = " and ".join(between(pair) for pair in table["pair"].unique())
    return f"n = {count} matrices, {pairs}; {seeds(table)}"


def repair(name: str) -> str:
    """`Repair: last with anchor`."""
    return f"Repair: {name.replace('-with-', ' with ')}"


def chosen(intervention: str) -> list[str]:
    """What an intervention's id (`Intervention.id`) chooses, in words, without its kind.

    `["all ranks", "layers 0–25 %"]` of `directions-top1-layers0-0.25`.
    """
    whole = re.sub(r"layers([\d.]+)-([\d.]+)", r"layers\1_\2", intervention)
    words = []
    for part in whole.split("-")[1:]:
        found = re.fullmatch(r"(top|bottom|weight|layers|seed)([\d._]+)", part)
        if found is None:
            name = {"inside": "without embedding and head", "published": "as published"}
            words.append(name.get(part, f"{part.replace('_', ', ')} only"))
        elif found[1] in ("weight", "seed"):
            words.append(f"{found[1]} {found[2]}".replace("seed", "draw"))
        elif found[1] == "layers":
            start, stop = (f"{100 * float(share):g}" for share in found[2].split("_"))
            words.append(f"layers {start}–{stop} %")
        else:
            share = 100 * float(found[2])
            words.append("all ranks" if share == 100 else f"{found[1]} {share:g} %")
    return words


def intervention(name: str) -> str:
    """`directions, top 20 %` of the id `directions-top0.2`."""
    kind = name.partition("-")[0].replace("_", " ")
    return ", ".join([kind, *chosen(name)]).replace(" %", "\N{NO-BREAK SPACE}%")


def looks_random(table: pd.DataFrame, checkpoints: Iterable[str]) -> str:
    """A warning that names the checkpoints with matrices that look freshly initialised, or none.

    `table`: `checkpoint`, `seed`, `looks_random`, one row a matrix.
    """
    own = table[table["checkpoint"].isin(set(checkpoints))]
    random = own[own["looks_random"]]
    if random.empty:
        return ""
    names = random["checkpoint"].unique()
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"WARNING: {len(random):,} of {len(own):,} matrices look never trained ({listed}): "
        "their directions are noise"
    )


# ---------------------------------------------------------------------- lines with a meaning


def rotation_lines(axes: Axes, table: pd.DataFrame, x: str, side: str) -> None:
    """One side of `aggregate.beside_nulls`: the observed angles, and means of the nulls."""
    colour = SIDE_COLOURS[side]
    for series, line in NULL_LINES.items():
        part = table[table["series"] == series].drop(columns=["low", "high"])
        if series == "observed":
            options = SIDE_OPTIONS[side]
            style.curve(axes, part, x, colour=colour, label="_observed", **options)
        else:
            mean = part[part["seed"] == "mean"].sort_values(x)
            axes.plot(mean[x], mean["value"], line, color=colour, lw=1.0)


def nulls_legend(figure: Figure, table: pd.DataFrame) -> None:
    """What colours (sides) and lines (observed, nulls) mean in a figure of `beside_nulls`."""
    first = figure.axes[0]
    for side in SIDE_LABELS:
        first.plot([], [], color=SIDE_COLOURS[side], lw=2, label=SIDE_LABELS[side])
    for series, line in NULL_LINES.items():
        if (table["series"] == series).any():
            marker = "o" if series == "observed" else None
            name = NULL_LABELS[series]
            first.plot([], [], color=GREY, marker=marker, linestyle=line, lw=1.2, label=name)
    style.legend(figure, [first], columns=3)


def end_lines(axes: Axes, table: pd.DataFrame, zorder: float = 2.0) -> None:
    """Target and anchor of a repair as horizontal lines, from a summary by `intervention`."""
    for end, label in END_LABELS.items():
        mean = table[(table["intervention"] == end) & (table["seed"] == "mean")].iloc[0]
        looks: dict[str, Any] = {
            "color": GREEN,
            "linestyle": END_LINES[end],
            "lw": 1.2,
            "zorder": zorder,
        }
        axes.axhline(mean["value"], label=label, **looks)
        axes.axhspan(mean["low"], mean["high"], color=GREEN, alpha=0.1, lw=0)


def mark_by_place(starts: Sequence[str]) -> dict[str, str]:
    """A marker for each start, in the order given."""
    return {name: style.MARKERS[i % len(style.MARKERS)] for i, name in enumerate(starts)}
