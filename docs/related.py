"""Put the page of a related paper into the gallery, from a finished study of its overlay.

python -m docs.related PAPER [--results FOLDER]

Beside the page, its figures and its table of statements lies `cost.json`: what the study's jobs
took, and how many were served by the store. What the store served, other studies had computed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from PIL import Image

from svdrift.errors import UserError
from svdrift.findings.making import costs
from svdrift.scripting import run

GALLERY = Path(__file__).parent / "gallery/related"
COST = "cost.json"


def put(study: str, results: Path, gallery: Path = GALLERY) -> list[Path]:
    """Copy the pages of a study's papers.

    Args:
        study: name of the overlay and of its study.
        results: folder of studies.
        gallery: where a folder for each paper is made, or replaced.

    Returns:
        The folders.

    Raises:
        UserError: the study has not finished.
    """
    folder = results / study
    pages = sorted((folder / "papers").glob("*/README.md"))
    if not pages or not (folder / "report.html").exists():
        raise UserError(f"{folder}: has no report yet (run experiments/related/{study}.yaml)")
    spent = costs(folder / "benchmarks", folder / "logs")
    seeds = json.loads((folder / "configuration.json").read_text(encoding="utf-8"))["seeds"]
    made = []
    for page in pages:
        place = gallery / page.parent.name.replace("_", "-")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for file in sorted(page.parent.iterdir()):
            if file.suffix == ".png":
                lighten(file, place / file.name)
            elif file.suffix == ".md" or file.name == "findings.csv":
                shutil.copyfile(file, place / file.name)
        cost = {
            "seeds": len(seeds),
            "jobs": sum(kind.jobs for kind in spent.values()),
            "reused": sum(kind.reused for kind in spent.values()),
            "seconds": round(sum(kind.total for kind in spent.values())),
        }
        (place / COST).write_text(json.dumps(cost, indent=1) + "\n", encoding="utf-8")
        made.append(place)
    return made


def lighten(figure: Path, out: Path) -> None:
    """A PNG with 256 colours, which a drawing of lines and words does not miss, in a third."""
    with Image.open(figure) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)


def main() -> None:
    """Copy the pages of one study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", metavar="PAPER", help="an overlay of experiments/related/")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of studies")
    arguments = parser.parse_args()
    for place in put(arguments.study, arguments.results):
        print(place)


if __name__ == "__main__":
    run(main)
