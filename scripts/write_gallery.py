"""Write a study's report as Markdown, for a repository: findings first, then each figure."""

import argparse
import json
import re
import shutil
import time
from pathlib import Path, PurePath

import pandas as pd

from svdrift.findings.captions import as_markdown
from svdrift.findings.finding import read_findings
from svdrift.findings.page import markdown
from svdrift.findings.rotation import FORGOT
from svdrift.scripting import read_table, run, write_provenance
from svdrift.spectra.excess import NULL_NAMES

MEASURES = ("value_change", "mean_angle", "window_angle")
FINDINGS = "Findings"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--findings", type=Path, required=True, help="table of findings (csv)")
    parser.add_argument(
        "--tables", type=Path, nargs="+", required=True, help="tables behind the findings"
    )
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="PNGs")
    parser.add_argument("--captions", type=Path, nargs="+", required=True, help="captions (rst)")
    parser.add_argument("--chapters", type=json.loads, required=True, help="figure -> chapter")
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--made-of", required=True, help="its seeds, problems and settings")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    args = parser.parse_args()
    started = time.time()

    args.out.mkdir(parents=True, exist_ok=True)
    for figure in args.figures:
        shutil.copyfile(figure, args.out / figure.name)
    for path in args.tables:
        table = evidence(read_table(path))
        table.to_csv(args.out / f"{path.stem}.csv", index=False, float_format="%.5g")
    shutil.copyfile(args.findings, args.out / "findings.csv")
    captions = {path.stem: as_markdown(path) for path in args.captions}
    chapters: dict[str, list[str]] = {}
    for figure, chapter in args.chapters.items():
        chapters.setdefault(chapter.partition(". ")[2], []).append(figure)
    contents = " · ".join(f"[{name}](#{anchor(name)})" for name in (FINDINGS, *chapters))
    lines = [f"# Results of study `{args.study}`", "", args.made_of, "", contents, ""]
    lines += [
        f"## {FINDINGS}",
        "",
        "[As a table](findings.csv); [settings, versions, commit and duration](provenance.json).",
        "",
        markdown(read_findings(args.findings), beside),
    ]
    for chapter, figures in chapters.items():
        lines += [f"## {chapter}", ""]
        for figure in figures:
            lines += [f"![{figure}]({figure}.png)", "", captions[figure], ""]
    (args.out / "README.md").write_text("\n".join(lines), encoding="utf-8")
    inputs = {"findings": args.findings}
    settings = {"study": args.study, "made of": args.made_of}
    write_provenance(args.out, inputs=inputs, settings=settings, seed=None, started=started)


def evidence(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that findings come from; of drift, those from the anchor to the last."""
    if "pair" not in table:
        return table
    rows = table[(table["pair"] == FORGOT) & table["measure"].isin(MEASURES)]
    columns = ["seed", "layer", "module", "measure", "side", "region", "start", "stop", "observed"]
    for null in NULL_NAMES:
        if null in rows:
            columns += [null, *(f"minus_{null}{end}" for end in ("", "_low", "_high"))]
    return rows[columns]


def anchor(heading: str) -> str:
    """The link target that GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def beside(path: str) -> str:
    """Name of a figure or table of the study in the report's folder."""
    return PurePath(path).with_suffix(".csv" if path.endswith(".parquet") else ".png").name


if __name__ == "__main__":
    run(main)
