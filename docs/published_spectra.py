"""Run the code of docs/published-spectra.md: put what it prints under it, and draw its figure."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from svdrift.figures import style
from svdrift.spectra.angles import angles_from_cosines

PAGE = Path(__file__).with_name("published-spectra.md")
FIGURE = PAGE.with_suffix(".png")
EXAMPLE = re.compile(r"(```python\n(.*?)```\n\n```text\n)(.*?)(```)", re.S)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)

Names = dict[str, Any]


def with_outputs(page: str) -> tuple[str, Names]:
    """The page with what each block prints in the text block after it, and the names defined."""
    names: Names = {}

    def run(block: re.Match[str]) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as script:
            script.write(block[2])
            script.flush()
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                names.update(runpy.run_path(script.name, init_globals=names))
        return block[1] + printed.getvalue() + block[4]

    return EXAMPLE.sub(run, page), names


def draw(names: Names) -> Figure:
    """Published values on the law; values and vectors of two unrelated matrices.

    Args:
        names: what the page's code defines.
    """
    with matplotlib.style.context(style.STYLE, after_reset=True):
        figure, (law, values, vectors) = style.panels(
            1,
            3,
            2.4,
            note="Left: lines are the law of a random matrix of that shape with entries of "
            "standard deviation 0.02, points were published. Middle and right: two matrices of "
            "k_proj's shape, drawn independently from normal entries of that standard deviation.",
        )
        _law(law, names)
        _values(values, names)
        _vectors(vectors, names)
        for panel in (law, values):
            panel.set(xlabel="rank (0 is the largest)", ylabel="singular value", ylim=(0, 2.7))
        for panel in (law, values, vectors):
            panel.legend()
    return figure


def _law(axes: Axes, names: Names) -> None:
    spectra: pd.DataFrame = names["spectra"]
    for name, colour in (("q_proj", style.BLUE), ("k_proj", style.RED)):
        rows = spectra[spectra["matrix"] == name]
        shape = tuple(rows[["rows", "columns"]].iloc[0])
        ranks = np.linspace(0, min(shape) - 1, 400)
        axes.plot(ranks, [names["law"](shape, rank, 0.02) for rank in ranks], color=colour, lw=1)
        axes.plot(rows["rank"], rows["value"], "o", color=colour, ms=4.5, label=name)
    axes.set_title("Published, and the law")


def _values(axes: Axes, names: Names) -> None:
    looks = ({"color": style.SKY, "lw": 3}, {"color": style.BLACK, "lw": 0.9, "ls": "--"})
    for name, look in zip(("first", "second"), looks, strict=True):
        axes.plot(names[name].S, label=f"{name} matrix", **look)
    axes.set_title("Two unrelated matrices: values")


def _vectors(axes: Axes, names: Names) -> None:
    first, second = names["first"], names["second"]
    rank = len(first.S)
    counts = [max(round(share * rank), 1) for share in SHARES]
    for label, colour, one, two in (
        ("right", style.PURPLE, first.Vh.T, second.Vh.T),
        ("left", style.GREEN, first.U, second.U),
    ):
        angles = [angles_from_cosines(one[:, :k].T @ two[:, :k]).mean() for k in counts]
        axes.plot(counts, np.rad2deg(angles), "o-", color=colour, label=f"{label} vectors")
    axes.set(xlabel="leading directions", ylabel="mean principal angle", ylim=(0, 92))
    axes.set_title("The same two: vectors")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda degrees, _: f"{degrees:g}°"))


def main() -> None:
    """Rewrite the page and its figure."""
    page, names = with_outputs(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
    draw(names).savefig(FIGURE, dpi=style.STYLE["savefig.dpi"], metadata={"Software": None})


if __name__ == "__main__":
    main()
