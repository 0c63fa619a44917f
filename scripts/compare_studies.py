"""Set finished studies side by side: one page with figures and each study minus the first."""

import argparse
from pathlib import Path

import pandas as pd

from svdrift.errors import UserError
from svdrift.figures import compare_accuracy, compare_difference, style
from svdrift.findings.across import lines, side_by_side
from svdrift.scripting import run
from svdrift.study.comparison import compare
from svdrift.study.comparison_page import page
from svdrift.study.finished import open_study

MOST = 4  # studies that fit side by side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", help="names of studies; the first is the reference")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where studies lie")
    parser.add_argument(
        "--out", type=Path, help="folder for the page (results/compare/FIRST-SECOND-…)"
    )
    args = parser.parse_args()

    names: list[str] = args.studies
    if len(set(names)) < len(names) or not 2 <= len(names) <= MOST:
        raise UserError(f"studies: give 2 to {MOST} different ones, not {', '.join(names)}")
    studies = [open_study(args.results, name) for name in names]
    comparisons = [compare(study, studies[0]) for study in studies[1:]]

    slug = "-".join(name.replace("/", "-") for name in names)
    out: Path = args.out or args.results / "compare" / slug
    together = pd.concat([one.accuracy.assign(study=one.name) for one in studies])
    drawing = compare_accuracy.draw(together, {one.name: one.story for one in studies})
    style.save(drawing, out / "accuracy")
    figures = {"accuracy.png": "Accuracy along the path and after RL"}
    for kind in ("accuracy", "recovery", "rotation"):
        parts = {one.study: getattr(one, kind) for one in comparisons}
        rows = pd.concat(
            [part.assign(study=name, reference=names[0]) for name, part in parts.items()],
            ignore_index=True,
        )
        if rows.empty:
            continue
        if kind == "accuracy":
            style.save(compare_difference.draw(rows), out / "difference")
            figures["difference.png"] = "Differences with 95 % intervals"
        else:
            rows.to_csv(out / f"{kind}.csv", index=False)
    judged = {one.name: one.findings for one in studies if one.findings is not None}
    claims: list[str] = []
    if len(judged) > 1:
        table = side_by_side(judged)
        table.to_csv(out / "claims.csv", index=False, lineterminator="\n")
        claims = lines(table, list(judged), "study")
    (out / "README.md").write_text(page(comparisons, figures, claims), encoding="utf-8")
    print(f"Comparison: {out}/README.md")


if __name__ == "__main__":
    run(main)
