"""Finished studies on the disk: where their tables lie, and what is said where one is missing."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from svdrift.errors import UserError
from svdrift.findings.finding import read_findings
from svdrift.scripting import damaged, read_json, read_table
from svdrift.story import Story
from svdrift.tables import join_tables


@dataclass(frozen=True)
class Finished:
    """A study whose results lie in `folder`. Whatever is asked for raises UserError if missing."""

    name: str
    folder: Path

    @cached_property
    def accuracy(self) -> pd.DataFrame:
        """Its table of accuracies."""
        return read_table(self.made("tables/accuracy.parquet"))

    @cached_property
    def findings(self) -> pd.DataFrame | None:
        """Its claims with their verdicts; None where they are not judged yet."""
        path = self.folder / "tables/findings.csv"
        return read_findings(path) if path.exists() else None

    @cached_property
    def story(self) -> Story:
        """Which of its checkpoints plays which part."""
        path = self.made("story.json")
        try:
            return Story.model_validate(read_json(path))
        except ValidationError:
            raise damaged(path, "is no story of a study") from None

    @property
    def configuration(self) -> dict[str, Any]:
        """Every setting as it was resolved."""
        return read_json(self.made("configuration.json"))

    def table(self, name: str) -> pd.DataFrame:
        """One of its tables, without rows where the study makes none of that name."""
        path = self.folder / "tables" / f"{name}.parquet"
        return read_table(path) if path.exists() else pd.DataFrame()

    def problems(self, seed: int, split: str) -> pd.DataFrame:
        """The problems of one split."""
        return read_table(self.made(f"seed-{seed}/problems/{split}.parquet"))

    def episodes(self, seeds: Iterable[int]) -> pd.DataFrame:
        """Episodes of all checkpoints, under one another."""
        checkpoints = self.accuracy["checkpoint"].unique()
        return join_tables(
            self.made(f"seed-{seed}/evaluation/{checkpoint}/episodes.parquet")
            for seed in seeds
            for checkpoint in checkpoints
        )

    def recovered(self, seeds: Iterable[int]) -> pd.DataFrame:
        """Episodes of all repaired models; no rows without repairs."""
        table = self.table("recovery")
        if table.empty:
            return table
        variants = table.loc[table["intervention"].notna(), ["repair", "intervention"]]
        return join_tables(
            self.made(f"seed-{seed}/recovery/{repair}/{intervention}/episodes.parquet")
            for seed in seeds
            for repair, intervention in variants.drop_duplicates().itertuples(index=False)
            if intervention not in ("target", "anchor")
        )

    def model(self, seed: int, checkpoint: str) -> Path:
        """The folder of a checkpoint, which may have been deleted."""
        return self.folder / f"seed-{seed}" / "models" / checkpoint

    def made(self, file: str) -> Path:
        """Where a file lies, if the study has come so far.

        Raises: UserError naming the file and the command that makes it.
        """
        path = self.folder / file
        if not path.exists():
            raise UserError(
                f"{self.name} is not finished: {path} is missing; run: {command(self.name)}"
            )
        return path


def open_study(results: Path, name: str) -> Finished:
    """A study by its name.

    Raises: UserError if there is none, naming the finished studies.
    """
    if not (results / name).is_dir():
        tables = results.glob("**/tables/accuracy.parquet")
        finished = sorted(path.parents[1].relative_to(results).as_posix() for path in tables)
        raise UserError(
            f"{name}: no such study in {results}/ (finished: {', '.join(finished) or 'none'})"
        )
    return Finished(name, results / name)


def command(study: str) -> str:
    """What runs a study, whose configuration has its name; a point runs with its sweep."""
    name, *point = study.split("/")
    found = sorted(Path("experiments").rglob(f"{name}.yaml"))
    overlay = f" --configfile {found[0] if found else f'{name}.yaml'}" if name != "default" else ""
    return f"snakemake{' --snakefile workflow/sweep.smk' if point else ''} --cores all{overlay}"


def same_weights(one: Path, two: Path) -> bool:
    """Whether two model folders hold the same weights, byte for byte; not if either has none."""
    names = sorted(path.name for path in one.glob("*.safetensors"))
    if not names or names != sorted(path.name for path in two.glob("*.safetensors")):
        return False
    return all(  # links to one file of the store need not be read
        (one / name).samefile(two / name) or filecmp.cmp(one / name, two / name, shallow=False)
        for name in names
    )
