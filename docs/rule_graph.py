"""Simplify Snakemake's rule graph: from `snakemake --rulegraph mermaid-js` to a page for people.

Rules that only join tables or link checkpoints are passed over, all figures are one node, and an
edge that a longer path implies is left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

LEFT_OUT = re.compile(r"all|(collect|keep)_\w+")
FIGURES = "plot_figures"
PAGE = """# The rule graph

Written by `make docs` from the workflow itself; do not edit. Every arrow is a file; `{figures}`
stands for one rule a figure. Rules that only join tables over seeds (`collect_…`) or link
checkpoints (`keep_…`) are passed over. The stages are those of `experiments/smoke.yaml`; a study
has a rule `train_…` for each of its own.

```mermaid
flowchart TB
{edges}
```
"""

Edge = tuple[str, str]


def read(text: str) -> set[Edge]:
    """Edges between different rules, from mermaid's nodes `id0[name]` and edges `id0 --> id1`."""
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", text))
    names = {key: FIGURES if name.startswith("plot_") else name for key, name in names.items()}
    edges = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", text)}
    return {(a, b) for a, b in edges if a != b}  # some problems are dealt after others


def pass_over(edges: set[Edge], node: str) -> set[Edge]:
    """The same graph without a node, its inputs joined to its outputs."""
    before = {a for a, b in edges if b == node}
    after = {b for a, b in edges if a == node}
    return {e for e in edges if node not in e} | {(a, b) for a in before for b in after}


def reduce(edges: set[Edge]) -> list[Edge]:
    """The transitive reduction, sorted: an edge goes where another path leads there too."""
    return sorted(
        (a, b)
        for a, b in edges
        if not any(_reaches(edges, c, b) for c in {y for x, y in edges if x == a} - {b})
    )


def _reaches(edges: set[Edge], start: str, end: str) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        node = waiting.pop()
        if node == end:
            return True
        if node not in seen:
            seen.add(node)
            waiting += [b for a, b in edges if a == node]
    return False


def page(text: str) -> str:
    """The whole page from Snakemake's output."""
    edges = read(text)
    for node in {name for edge in edges for name in edge}:
        if LEFT_OUT.fullmatch(node):
            edges = pass_over(edges, node)
    lines = [f"    {a} --> {b}" for a, b in reduce(edges)]
    return PAGE.format(figures=FIGURES, edges="\n".join(lines))


def main(lines: Iterable[str]) -> None:
    """Read a graph and print its page."""
    print(page("".join(lines)), end="")


if __name__ == "__main__":
    main(sys.stdin)
