"""Set finished studies side by side: one page with figures and each study minus the first."""

import argparse
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from svdrift.errors import UserError
from svdrift.evaluation.studies import parts_of, same_problems, study_differences
from svdrift.figures import compare_accuracy, compare_difference, labels, style
from svdrift.scripting import damaged, read_json, read_table, run
from svdrift.story import Story
from svdrift.tables import join_tables

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
    folders = {name: study_folder(args.results, name) for name in names}
    accuracies = {
        name: read_table(made(folder / "tables/accuracy.parquet", name))
        for name, folder in folders.items()
    }
    stories = {name: read_story(folder, name) for name, folder in folders.items()}
    reference = names[0]
    differences = pd.concat(
        [
            compare(folders, accuracies, stories, reference, name).assign(
                study=name, reference=reference
            )
            for name in names[1:]
        ],
        ignore_index=True,
    )
    slug = "-".join(name.replace("/", "-") for name in names)
    out: Path = args.out or args.results / "compare" / slug
    together = pd.concat([table.assign(study=name) for name, table in accuracies.items()])
    style.save(compare_accuracy.draw(together, stories), out / "accuracy")
    style.save(compare_difference.draw(differences), out / "difference")
    (out / "README.md").write_text(page(names, differences), encoding="utf-8")
    print(f"Comparison: {out}/README.md")


def study_folder(results: Path, name: str) -> Path:
    """Where a study's results lie.

    Raises: UserError if there are none, naming the finished studies.
    """
    if not (results / name).is_dir():
        tables = results.glob("**/tables/accuracy.parquet")
        finished = sorted(path.parents[1].relative_to(results).as_posix() for path in tables)
        raise UserError(
            f"{name}: no such study in {results}/ (finished: {', '.join(finished) or 'none'})"
        )
    return results / name


def made(path: Path, study: str) -> Path:
    """`path`, if the study has come so far.

    Raises: UserError naming the file and the command that makes it.
    """
    if not path.exists():
        raise UserError(f"{study} is not finished: {path} is missing; run: {command(study)}")
    return path


def read_story(folder: Path, study: str) -> Story:
    """The story of a study."""
    path = made(folder / "story.json", study)
    try:
        return Story.model_validate(read_json(path))
    except ValidationError:
        raise damaged(path, "is no story of a study") from None


def command(study: str) -> str:
    """What runs a study, whose configuration has its name; a point runs with its sweep."""
    name, *point = study.split("/")
    found = sorted(Path("experiments").rglob(f"{name}.yaml"))
    overlay = f" --configfile {found[0] if found else f'{name}.yaml'}" if name != "default" else ""
    return f"snakemake{' --snakefile workflow/sweep.smk' if point else ''} --cores all{overlay}"


def compare(
    folders: dict[str, Path],
    accuracies: dict[str, pd.DataFrame],
    stories: dict[str, Story],
    reference: str,
    study: str,
) -> pd.DataFrame:
    """Study minus reference at every checkpoint of both, for the seeds that both have.

    Only test splits that both have are compared.

    Raises: UserError if they have no seed or no test split in common, or files are missing.
    """
    seeds = sorted(set(accuracies[study]["seed"]) & set(accuracies[reference]["seed"]))
    if not seeds:
        raise UserError(f"{study} and {reference} have no seed in common")
    tests = [
        table.loc[table["role"] == "test", "split"].unique()
        for table in (accuracies[study], accuracies[reference])
    ]
    splits = [split for split in tests[0] if split in tests[1]]
    if not splits:
        raise UserError(f"{study} and {reference} have no test split in common")
    paired = {
        split: all(
            same_problems(
                *(problems(folders[name], name, seed, split) for name in (study, reference))
            )
            for seed in seeds
        )
        for split in splits
    }
    ours, theirs = (
        join_tables(
            [
                made(folders[name] / f"seed-{seed}/evaluation/{checkpoint}/episodes.parquet", name)
                for seed in seeds
                for checkpoint in accuracies[name]["checkpoint"].unique()
            ]
        )
        for name in (study, reference)
    )
    parts = parts_of(stories[study]), parts_of(stories[reference])
    return study_differences(ours, theirs, paired, parts)


def problems(folder: Path, study: str, seed: int, split: str) -> pd.DataFrame:
    """The problems of one split."""
    return read_table(made(folder / f"seed-{seed}/problems/{split}.parquet", study))


def page(names: Sequence[str], differences: pd.DataFrame) -> str:
    """The comparison as Markdown, with the figures beside it."""
    lines = [
        f"# {' and '.join(names)}",
        "",
        "![Accuracy along the path and after RL](accuracy.png)",
        "",
        "![Differences with 95 % intervals](difference.png)",
    ]
    for study, rows in differences.groupby("study", sort=False):
        seeds = sorted(rows["seed"].dropna().astype(int).unique())
        lines += [
            "",
            f"## {study} minus {names[0]}",
            "",
            f"Points of accuracy with 95 % intervals, clustered by group; {labels.seeds(rows)} "
            f"({', '.join(map(str, seeds))}), together where there are several. "
            "All seeds one by one: `difference.csv`. [0.0, 0.0]: both solved the same problems.",
            "",
            f"| checkpoint | split | problems | groups | {names[0]} | {study} "
            "| difference [95 %] | |",
            "|---|---|---|---|---|---|---|---|",
        ]
        shown = rows[rows["seed"].isna()] if rows["seed"].isna().any() else rows
        lines += [table_row(row) for row in shown.to_dict("records")]
    return "\n".join(lines) + "\n"


def table_row(row: dict[Hashable, Any]) -> str:
    """One difference as a row of the page's table."""
    value, reference, difference, low, high = (
        100 * row[name] for name in ("value_a", "value_b", "difference", "low", "high")
    )
    return (
        f"| {row['checkpoint']} | {labels.split(row['role'], row['shift'])} | {row['n']:,} "
        f"| {row['groups']:,} | {reference:.1f} % | {value:.1f} % "
        f"| {difference:+.1f} [{low:.1f}, {high:.1f}] "
        f"| {'paired' if row['paired'] else 'not paired: other problems'} |"
    )


if __name__ == "__main__":
    run(main)
