"""Hold what a study has measured against a related paper: statements, a figure, and a page."""

import argparse
import json
from pathlib import Path

from svdrift.errors import UserError, choices
from svdrift.figures import statements, style
from svdrift.findings import paper
from svdrift.findings.arms import accuracies
from svdrift.findings.finding import findings_table, read_findings
from svdrift.findings.paper_page import page
from svdrift.scripting import read_table, run
from svdrift.story import Story


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paper", help="a module of svdrift/findings/papers/, or a .py file")
    parser.add_argument(
        "tables", nargs="+", metavar="NAME=TABLE", help="what it reads, by kind of probe or name"
    )
    parser.add_argument(
        "--story", type=Story.model_validate_json, required=True, help="the study's story (JSON)"
    )
    parser.add_argument("--made-of", required=True, help="the study's seeds and settings")
    parser.add_argument(
        "--costs", type=json.loads, required=True, help="of each arm: samples, episodes, replies"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the page")
    args = parser.parse_args()

    module = paper.load(args.paper)
    tables = {name: read_table(Path(at)) for name, at in (one.split("=", 1) for one in args.tables)}
    found = module.findings(tables, args.story)
    if not found:
        raise UserError(
            f"{args.paper}: the study has nothing to say about it (it needs problems for tests, "
            "and, for a paper without arms, RL with a moderate start and controls from there)"
        )
    for claim in {one.claim for one in found} - set(module.PAPER.claims):
        raise UserError(
            f"{args.paper}: a statement is about the claim {claim!r}, and PAPER has none of this "
            f"name{choices(claim, module.PAPER.claims)}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    findings_table(found).to_csv(args.out / "findings.csv", index=False, lineterminator="\n")
    told = read_findings(args.out / "findings.csv")
    style.save(statements.draw(told), args.out / "statements.png")
    (args.out / "statements.csv").unlink()  # findings.csv has it all
    text = page(
        module.PAPER, told, args.made_of, args.costs, accuracies(module.PAPER, tables, args.story)
    )
    (args.out / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
