"""Write a study's report: one page that needs nothing else, what came out first."""

import argparse
import base64
import json
import re
import time
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from svdrift.figures import labels
from svdrift.findings import captions, making, page
from svdrift.findings.finding import read_findings
from svdrift.findings.headlines import counts, headlines, said
from svdrift.scripting import PROVENANCE, read_json, read_table, run, write_provenance
from svdrift.story import Story

INCH = 300  # pixels of the PNGs (`svdrift.figures.style`)
BEFORE, AFTER = (
    ("What came out", "Problems and replies"),
    (
        "All statements",
        "How it was made",
        "Tables and files",
    ),
)
SAMPLES = {  # title, and which problems are of the kind
    "right": ("A right one", "ID test, solved at the end of {path}"),
    "wrong": ("A wrong one", "OOD test, solved neither at the peak nor at the end of {path}"),
    "forgot": (
        "One that forgot",
        "OOD test, solved at the peak and no longer at the end of {path}",
    ),
    "regained": (
        "One that came back",
        "OOD test, solved at the peak, no longer at the moderate start, and again after {rl} there",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, required=True, help="the page's template (jinja)")
    parser.add_argument("--findings", type=Path, required=True, help="table of findings (csv)")
    parser.add_argument("--replies", type=Path, required=True, help="of show_replies.py")
    parser.add_argument("--problems", type=Path, required=True, help="of check_problems.py (csv)")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="PNGs")
    parser.add_argument("--captions", type=Path, nargs="+", required=True, help="captions (rst)")
    parser.add_argument("--chapters", type=json.loads, required=True, help="figure -> chapter")
    parser.add_argument(
        "--story", type=Story.model_validate_json, required=True, help="the study's story (JSON)"
    )
    parser.add_argument("--study", required=True, help="name of the study")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="of the study")
    parser.add_argument("--made-of", required=True, help="its seeds, problems and settings")
    parser.add_argument(
        "--changed", type=json.loads, required=True, help="keys with its and the default's values"
    )
    parser.add_argument("--links", nargs="+", required=True, help="files of the study to name")
    parser.add_argument(
        "--folder", type=Path, required=True, help="of the study, with benchmarks/ and logs/"
    )
    parser.add_argument("--out", type=Path, required=True, help="the page (html)")
    args = parser.parse_args()

    provenance = f"{args.out.stem}.{PROVENANCE}"
    write_provenance(
        args.out.parent,
        inputs={"findings": args.findings, "replies": args.replies},
        settings={"study": args.study, "made of": args.made_of},
        seed=None,
        started=time.time(),
        name=provenance,
    )
    own = read_json(args.out.parent / provenance)
    models = making.origins(
        read_json(path) for path in sorted(args.folder.glob(f"seed-*/models/*/{PROVENANCE}"))
    )
    written = {path.stem: path for path in args.captions}
    findings, spent = (
        read_findings(args.findings),
        making.costs(args.folder / "benchmarks", args.folder / "logs"),
    )
    chapters = by_chapter(args.chapters, args.figures, written)
    text = template(args.page).render(
        study=args.study,
        made_of=args.made_of,
        dirty=dirty(own, models),
        headlines=[statement(row) for row in headlines(findings).to_dict("records")],
        counts=counts(findings),
        verdicts=page.VERDICTS,
        seeds_said=seeds_said(args.seeds),
        several=len(args.seeds) > 1,
        contents=[*BEFORE, *chapters, *AFTER],
        chapters=chapters,
        seed=args.seeds[0],
        problems=problems(args.problems),
        problems_caption=captions.as_html(written["problems"]),
        samples=samples(read_table(args.replies), args.story),
        how_to_read=page.how_to_read(findings),
        claims=claims(findings),
        facts=facts(args.seeds, own, models),
        changed=[
            dict(zip(("key", "ours", "theirs"), (key, shown(ours), shown(theirs)), strict=True))
            for key, ours, theirs in args.changed
        ],
        costs=[cost_row(name, cost) for name, cost in {**spent, "all": total(spent)}.items()],
        reused=total(spent).reused,
        folder=args.folder,
        links=links(args.links),
    )
    args.out.write_text(text, encoding="utf-8")


def template(path: Path) -> Any:
    """The page's template; a name that it is not given is an error."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["anchor"] = anchor
    return environment.from_string(path.read_text(encoding="utf-8"))


def anchor(heading: str) -> str:
    """`what-came-out` of `What came out`."""
    return re.sub(r"\W+", "-", heading.lower()).strip("-")


def by_chapter(
    chapters: Mapping[str, str], figures: Sequence[Path], written: Mapping[str, Path]
) -> dict[str, list[dict[str, Any]]]:
    """The figures of each chapter, in the order of the story, with captions and pictures."""
    pictures = {path.stem: path for path in figures}
    found: dict[str, list[dict[str, Any]]] = {}
    for name, chapter in chapters.items():
        width, height = Image.open(pictures[name]).size
        found.setdefault(chapter.partition(". ")[2], []).append(
            {
                "name": name,
                "title": captions.question(written[name]),
                "caption": captions.as_html(written[name]),
                "source": data_uri(pictures[name]),
                "width": width,
                "height": height,
                "inches": round(width / INCH, 2),
            }
        )
    return found


def data_uri(picture: Path) -> Markup:
    """The picture itself, as an address."""
    return Markup(f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}")


def statement(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """A finding as the page prints it."""
    return {
        **{str(name): value for name, value in row.items()},
        "said": said(row),
        "judged": page.judged(row),
        "alone": page.ALONE in page.judged(row),
        "estimate": page.estimate(row),
        "quantity": f"rank correlation {page.estimate(row)}"
        if row["unit"] == "rank correlation"
        else page.estimate(row),
        "counted": page.counted(row),
        "anchor": PurePath(row["figure"]).stem,
    }


def claims(findings: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Each claim with its statements, and the test that most of these rest on."""
    found = []
    for claim in page.summary(findings).to_dict("records"):
        own = findings[findings["claim"] == claim["claim"]]
        test = own["test"].mode().iloc[0] if len(own) else ""
        rows = [statement(row) for row in own.to_dict("records")]
        found.append({**claim, "test": test, "rows": rows})
    return found


def seeds_said(seeds: Sequence[int]) -> str:
    """What the intervals are about."""
    if len(seeds) == 1:
        return "With one seed they cover new problems, not new seeds."
    return f"With {len(seeds)} seeds those of differences cover new seeds, too."


def problems(summary: Path) -> dict[str, list[Any]]:
    """The table of splits: its columns and rows."""
    table = pd.read_csv(summary)
    columns = [name.replace("_", " ") for name in table.columns]
    return {"columns": columns, "rows": table.astype(str).to_numpy().tolist()}


def samples(replies: pd.DataFrame, story: Story) -> list[dict[Hashable, Any]]:
    """Each kind of sample with its problem and what checkpoints replied."""
    found = []
    for kind, rows in replies.groupby("kind", sort=False):
        title, meaning = SAMPLES[str(kind)]
        first = rows.iloc[0].to_dict()
        spoken = [
            {
                "checkpoint": labels.checkpoint(story, row["checkpoint"]),
                "reply": row["reply"],
                "solved": row["solved"],
                "fault": row["fault"].replace("_", " "),
            }
            for row in rows.to_dict("records")
        ]
        meaning = meaning.format(path=story.path_label, rl=story.rl.label if story.rl else "")
        found.append({**first, "title": title, "meaning": meaning, "replies": spoken})
    return found


def dirty(own: Mapping[str, Any], models: making.Origins) -> dict[str, str]:
    """What was made by code with local edits, and by which commit with edits."""
    found = {f"{models.commits[commit]} models": commit for commit in models.dirty}
    if making.origins([own]).dirty:
        found["this page"] = own["commit"]
    return found


def facts(
    seeds: Sequence[int], own: Mapping[str, Any], models: making.Origins
) -> dict[str, list[str]]:
    """By whom, when and on what the study was made, in words."""
    versions = ", ".join(f"{name} {version}" for name, version in own["versions"].items())
    trained = f"{models.first} to {models.last} UTC" if models.first else "no models"
    return {
        "Seeds": [", ".join(map(str, seeds))],
        "Commit of this page": [own["commit"] or making.UNKNOWN],
        "Commits of the models": [f"{name} ({n} models)" for name, n in models.commits.items()],
        "Page written": [f"{making.minute(own['started'])} UTC"],
        "Models begun": [trained],
        "Machine of the models": [f"{name} ({n} models)" for name, n in models.machines.items()],
        "Machine of this page": [f"{making.machine(own['hardware'])}; {own['hardware']['system']}"],
        "Versions": [versions],
    }


def shown(value: Any) -> str:
    """A value of a setting as YAML would write it; a dash where there is none."""
    return "–" if value is None else json.dumps(value, ensure_ascii=False).strip('"')


def total(spent: Mapping[str, making.Cost]) -> making.Cost:
    """All jobs together."""
    seconds = [second for cost in spent.values() for second in cost.seconds]
    jobs, reused = (sum(getattr(c, name) for c in spent.values()) for name in ("jobs", "reused"))
    return making.Cost(jobs, seconds, reused)


def cost_row(name: str, cost: making.Cost) -> dict[str, str]:
    """A kind of job as the page prints it."""
    store = f" ({cost.reused} from the store)" if cost.reused else ""
    return {
        "name": name,
        "jobs": f"{cost.jobs}{store}",
        "total": making.clock(cost.total) if cost.seconds else "–",
        "longest": making.clock(cost.longest) if cost.seconds else "–",
    }


def links(given: Sequence[str]) -> list[dict[str, str]]:
    """`PATH=what it holds`, or a path alone."""
    pairs = (link.partition("=") for link in given)
    return [{"path": path, "what": what} for path, _, what in pairs]


if __name__ == "__main__":
    run(main)
