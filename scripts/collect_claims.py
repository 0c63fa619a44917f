"""Put the statements of all points of a sweep side by side: a table and a page."""

import argparse
import json
from pathlib import Path

from svdrift.findings.across import labels, lines, side_by_side
from svdrift.findings.finding import read_findings
from svdrift.scripting import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--points", type=json.loads, required=True, help="JSON list of {setting: value}"
    )
    parser.add_argument(
        "--findings", type=Path, nargs="+", required=True, help="their tables, in the same order"
    )
    parser.add_argument("--sweep", required=True, help="its name")
    parser.add_argument(
        "--out", type=Path, required=True, help="table (CSV); a page goes beside it"
    )
    args = parser.parse_args()

    names = labels(args.points)
    tables = [read_findings(path) for path in args.findings]
    table = side_by_side(dict(zip(names, tables, strict=True)))
    table.to_csv(args.out, index=False, lineterminator="\n")
    text = [f"# Claims at each point of `{args.sweep}`", "", *lines(table, names, "point")]
    args.out.with_suffix(".md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
