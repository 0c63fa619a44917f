"""Studies share what they have in common, one after another and side by side."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workflow.clones import snakemake_in
from tests.workflow.test_reruns import SMOKE, jobs

pytestmark = [pytest.mark.workflow, pytest.mark.smoke]

REUSED = "reused from"


def overlay(clone: Path, study: str, settings: str) -> tuple[str, ...]:
    """Arguments for a study of another name than smoke, with other settings."""
    (clone / f"{study}.yaml").write_text(f"study: {study}\n{settings}\n")
    return (*SMOKE, f"{study}.yaml")


def contents(folder: Path) -> dict[str, bytes]:
    """Of an artefact, whose dot-files are Snakemake's."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in paths
        if not path.name.startswith(".")
    }


def test_an_ablation_runs_only_what_it_changes(smoke, snakemake, clone):
    study = overlay(clone, "ablation", "stages: {ppo: {learning_rate: 2.0e-4}}")
    results = clone / "results/ablation"
    tables = [f"results/ablation/tables/{name}.parquet" for name in ("comparisons", "updates")]
    done = snakemake("--cores", "2", *study, "--", *tables)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = {
        str(path.relative_to(results / "logs")): path.read_text() for path in results.rglob("*.log")
    }
    shared = ["train/base", "train/sft", "make_problems/practice"]
    shared += [f"{stage}/sft-{step}" for stage in ("evaluate", "decompose") for step in (4, 16)]
    for name in shared:
        assert logs[f"seed-0/{name}.log"].startswith(REUSED), name
    for name in (
        "train/sft-4.ppo",
        "train/sft-4.continued",
        "evaluate/sft-4.ppo-2",
        "decompose/sft-16.ppo-2",
    ):
        assert REUSED not in logs[f"seed-0/{name}.log"], name
    for name in ("models/base", "models/sft-16", "evaluation/sft-16", "problems"):
        expected = contents(smoke / "seed-0" / name)
        expected.pop("summary.csv", None)  # of check_problems, which these tables do not need
        assert contents(results / "seed-0" / name) == expected
    again = snakemake("-n", *study, "--", *tables)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_two_studies_run_side_by_side(clone, tmp_path):
    """With an empty store, so that each has to wait for the other or to do without."""
    run = snakemake_in(clone, SVDRIFT_STORE=str(tmp_path / "store"))
    names = ("one", "other")
    targets = ("models/sft-16", "models/sft-4.ppo-2", "evaluation/base/accuracy.parquet")

    def start(name: str, rate: str):
        study = overlay(clone, name, f"stages: {{ppo: {{learning_rate: {rate}}}}}")
        return run("--cores", "1", *study, "--", *(f"results/{name}/seed-0/{t}" for t in targets))

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(start, names, ("3.0e-4", "4.0e-4")):
            assert done.returncode == 0, done.stderr[-3000:]
    one, other = (clone / "results" / name for name in names)
    for stage in ("train/base", "train/sft", "evaluate/base"):
        said = [(study / f"logs/seed-0/{stage}.log").read_text() for study in (one, other)]
        assert sum(REUSED in text for text in said) == 1, stage
    for name in ("models/base", "models/sft-16", "training/sft/models", "evaluation/base"):
        assert contents(one / "seed-0" / name) == contents(other / "seed-0" / name)
    weights = "seed-0/models/sft-4.ppo-2/model.safetensors"
    assert (one / weights).read_bytes() != (other / weights).read_bytes()
    assert not list((tmp_path / "store").glob(".*"))
    assert not list((tmp_path / "store").glob("*.claim"))


def test_a_checkpoint_that_the_run_did_not_keep_is_trained_to_again(smoke, snakemake, clone):
    """And is the one that a run that keeps it would have kept, to the last bit."""
    last = "results/more/seed-0/models/sft-16"
    study = overlay(clone, "more", "seeds: [0]")
    assert snakemake("--cores", "2", *study, "--", last).returncode == 0
    added = "stages: {sft: {keep: [4, 8, 12, 16]}}"
    for name in ("more", "fresh"):
        study, target = overlay(clone, name, added), f"results/{name}/seed-0/models/sft-12"
        plan = snakemake("-n", *study, "--", target, target.replace("12", "16"))
        assert ("train_sft" in jobs(plan.stdout + plan.stderr)) == (name == "fresh")
        done = snakemake("--cores", "2", *study, "--", target)
        assert done.returncode == 0, done.stderr[-3000:]
    again, kept = (clone / f"results/{name}/seed-0/models/sft-12" for name in ("more", "fresh"))
    run = kept.parents[1] / "training/sft/models/12"
    assert (kept / "model.safetensors").samefile(run / "model.safetensors")
    assert not (again.parents[1] / "training/sft/models/12").exists()
    left, right = contents(again), contents(kept)
    assert left.pop("provenance.json") != right.pop("provenance.json")
    assert left == right
