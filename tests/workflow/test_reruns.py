"""What runs again after a change: exactly the jobs that lie downstream of it.

Each row is one change to the finished smoke study, and the jobs that `snakemake -n` then plans, by
rule. Dry runs are made in copies of the clone, two at a time.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow.clones import snakemake_in

pytestmark = [pytest.mark.workflow, pytest.mark.smoke]

SMOKE = ("--configfile", "experiments/smoke.yaml")
Jobs = dict[str, int]


def jobs(said: str) -> Jobs:
    """Planned jobs by rule, out of the table that `snakemake -n` prints.

    Without `all`, and `configuration`, which follows every setting.
    """
    rows = re.findall(r"^(\w+) +(\d+)$", said.split("Job stats:")[-1], re.M)
    return {
        rule: int(count) for rule, count in rows if rule not in ("all", "configuration", "total")
    }


def once(*names: str) -> Jobs:
    return dict.fromkeys(names, 1)


def plots(*names: str) -> Jobs:
    """Figures, and the report that shows them."""
    return once(*(f"plot_{name}" for name in names), "write_report")


# What lies downstream, from the end of the graph to its beginning.
FINDINGS = once("summarise_findings", "write_report")
CONTRASTS = once("measure_contrasts") | FINDINGS
OF_RECOVERY = plots(
    "recovery_by_rank", "recovery_by_layers", "recovery_frontier", "recovery_effect"
)
OF_DRIFT = plots("spectrum_change", "rotation_by_rank", "rotation_by_position", "rotation_heatmap")
OF_ACCURACY = plots(
    "stages_overview",
    "accuracy_by_step",
    "faults_by_step",
    "recovery_window",
    "rl_progress",
    "stages",
)
OF_OBJECTIVES = plots("objectives", "loss_by_step")
OF_LOSSES = once("collect_losses") | plots("loss_by_step")
OF_UPDATES = (
    once("collect_metrics", "collect_advantages", "measure_signals")
    | plots("advantages", "recovery_window", "rl_effect")
    | FINDINGS
)
OF_EFFECT = once("compare_checkpoints", "plot_rl_effect") | FINDINGS
AFTER_RECOVER = once("measure_recovery") | OF_RECOVERY | FINDINGS
AFTER_DRIFT = once("collect_drift", "collect_nulls", "collect_value_changes") | OF_DRIFT | FINDINGS
AFTER_UPDATES = once("collect_updates", "plot_rl_update")
COLLECT_SPECTRA = once("collect_spectrum", "collect_matrices")
AFTER_EVALUATE = (
    once("collect_accuracy", "collect_objectives") | OF_ACCURACY | OF_OBJECTIVES | FINDINGS
)
# The anchor's: one pair's drift, and five variants, which restore its directions.
AFTER_ANCHOR = (
    {"collect_anchors": 1, "measure_drift": 1, "recover": 5, "show_replies": 1}
    | AFTER_DRIFT
    | AFTER_RECOVER
    | CONTRASTS
)
AFTER_SFT_EVALUATE = once("choose_anchor") | AFTER_ANCHOR | AFTER_EVALUATE | OF_EFFECT
AFTER_DECOMPOSE = (
    {"measure_drift": 6, "measure_updates": 2, "recover": 6}
    | COLLECT_SPECTRA
    | AFTER_DRIFT
    | AFTER_UPDATES
    | AFTER_RECOVER
    | CONTRASTS
)
EVALUATIONS = {"evaluate": 11} | AFTER_SFT_EVALUATE
AFTER_PPO = (  # two runs, of which one has an intermediate checkpoint, and the control
    {"keep_ppo": 3, "keep_demonstrated": 1}
    | {"evaluate": 4, "decompose": 2, "measure_drift": 2, "recover": 1, "measure_updates": 2}
    | once("show_replies")
    | COLLECT_SPECTRA
    | OF_UPDATES
    | AFTER_EVALUATE
    | OF_EFFECT
    | AFTER_DRIFT
    | AFTER_UPDATES
    | AFTER_RECOVER
    | CONTRASTS
)
# Every figure but three, contrasts and claims read the story.
OF_STORY = (
    OF_ACCURACY
    | OF_OBJECTIVES
    | OF_DRIFT
    | plots("rl_effect", "advantages", "rl_update", "recovery_frontier")
    | CONTRASTS
    | once("show_replies")
)
PPO = {"train_ppo": 2, "train_demonstrated": 1}
CONTROLS = {"train_continued": 2, "train_wide": 1, "keep_continued": 2, "keep_wide": 1} | OF_LOSSES
AFTER_SFT = (
    {"keep_sft": 3, "keep_ppo": 3, "keep_demonstrated": 1}
    | PPO
    | CONTROLS
    | OF_UPDATES
    | EVALUATIONS
    | AFTER_DECOMPOSE
    | {"evaluate": 10, "decompose": 5}
)
BASE = {"train_base": 1, "keep_base": 1}
AFTER_BASE = {"train_sft": 1} | AFTER_SFT | {"evaluate": 11, "decompose": 6}
OF_A_SEED = {"make_problems": 7, "check_problems": 1} | BASE | AFTER_BASE
EVERYTHING = {"summarise_task": 1} | OF_A_SEED


@dataclass(frozen=True)
class Row:
    """A change, by an overlay, arguments of Snakemake or something done to a copy of the clone."""

    name: str
    planned: Jobs
    overlay: str = "{}"
    arguments: tuple[str, ...] = ()
    change: Callable[[Path], None] = lambda clone: None
    said: str = ""


def write(file: str, text: str) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        (clone / file).unlink()  # in the copy, whose files are links
        (clone / file).write_text(text)

    return change


def append(file: str, text: str) -> Callable[[Path], None]:
    return lambda clone: write(file, (clone / file).read_text() + text)(clone)


def edited(file: str) -> Callable[[Path], None]:
    return append(file, "\nEDITED = True\n")


def touch(file: str) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        path = clone / "results/smoke" / file
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)

    return change


def remove(file: str) -> Callable[[Path], None]:
    return lambda clone: (clone / "results/smoke" / file).unlink()


def own_hands(clone: Path) -> None:
    (clone / "mine.csv").write_text("cards\n3 J 5 10\n")


def another_version(package: str) -> Callable[[Path], None]:
    """As if another version of a library had been installed."""

    def change(clone: Path) -> None:
        (clone / "sitecustomize.py").write_text(
            "import importlib.metadata as metadata\n"
            "installed = metadata.version\n"
            f"metadata.version = lambda name: '0.0.1' if name == {package!r} else installed(name)\n"
        )

    return change


ROWS = [
    Row("nothing", {}),
    # Settings
    Row(
        "PPO's learning rate",
        PPO | CONTROLS | AFTER_PPO | {"evaluate": 7},
        "stages: {ppo: {learning_rate: 2.0e-4}}",
    ),
    Row("PPO's clip", PPO | AFTER_PPO, "stages: {ppo: {clip: 0.3}}"),
    Row(
        "SFT's learning rate",
        {"train_sft": 1} | AFTER_SFT,
        "stages: {sft: {learning_rate: 5.0e-4}}",
    ),
    Row(
        "one more SFT checkpoint",
        {"keep_sft": 1, "evaluate": 1, "decompose": 1}
        | COLLECT_SPECTRA
        | once("choose_anchor")
        | AFTER_ANCHOR
        | AFTER_EVALUATE
        | {"measure_drift": 2}
        | OF_STORY,
        "stages: {sft: {keep: [4, 8, 12, 16]}}",
    ),
    Row("steps of pretraining", BASE | OF_LOSSES | AFTER_BASE, "stages: {base: {steps: 61}}"),
    Row(
        "shape of the model",
        BASE | AFTER_BASE,
        "stages: {base: {architecture: {intermediate_size: 32}}}",
    ),
    Row("type of the weights", BASE | AFTER_BASE, "model: {dtype: bfloat16}"),
    Row(
        "memory",
        {},
        "stages: {sft: {micro_batch_size: 8, gradient_checkpointing: true},"
        " ppo: {micro_batch_size: 4}}\n"
        "evaluation: {batch_size: 7}\n"
        "generation: {gpu_memory: 0.5, max_length: 512}",
    ),
    Row("where metrics are shown", {}, "tracking: tensorboard"),
    Row("the same value", {}, "story: {moderate: sft@16}"),
    Row("the preset's name", {}, "stages: {ppo: {preset: tiny}}"),
    Row("tries of the evaluation", EVALUATIONS, "evaluation: {tries: 2}"),
    Row(
        "number of test hands",
        {"make_problems": 2, "check_problems": 1} | EVALUATIONS | {"recover": 6},
        "task: {hands: {test: 90}}",
    ),
    Row(
        "what an unfinished formula earns",
        PPO | AFTER_PPO | EVALUATIONS | {"evaluate": 11, "measure_drift": 3, "recover": 6},
        "task: {partial_reward: 1.0}",
    ),
    Row("target", EVERYTHING, "task: {target: 20}"),
    Row(
        "a rule that nothing plays",
        {},
        "task: {rules: {tens: [10, 10, 10], faces: [11, 12, 13], odd: [7, 9, 11]}}",
    ),
    Row(
        "the OOD rule",
        {"make_problems": 2, "check_problems": 1} | EVALUATIONS | {"recover": 6},
        "task: {ood_rules: [odd], "
        "rules: {tens: [10, 10, 10], faces: [11, 12, 13], odd: [7, 9, 11]}}",
    ),
    Row(
        "hands of one's own",
        {"make_problems": 7, "check_problems": 1, "train_sft": 1} | AFTER_SFT | {"evaluate": 11},
        "task: {hands: {files: {id_test: mine.csv}}}",
        change=own_hands,
    ),
    Row(
        "shares of the spectra",
        {"measure_drift": 6, "measure_updates": 2} | AFTER_DRIFT | AFTER_UPDATES,
        "spectra: {shares: [0.25]}",
    ),
    Row("windows of the spectra", {"measure_drift": 6} | AFTER_DRIFT, "spectra: {windows: 3}"),
    Row("nulls", {"measure_drift": 6} | AFTER_DRIFT, "spectra: {nulls: [isotropic]}"),
    Row(
        "draws of the nulls",
        {"measure_drift": 6, "measure_updates": 2} | AFTER_DRIFT | AFTER_UPDATES,
        "spectra: {draws: 3}",
    ),
    Row(
        "one more share of recovery",
        {"recover": 1} | AFTER_RECOVER,
        "recovery: {interventions: [{kind: directions, top: [0.2, 0.35, 1]},"
        " {kind: directions, top: 1, layers: [0, 0.5]}, {kind: values, top: 1},"
        " {kind: interpolate, weight: 0.5}]}",
    ),
    Row(
        "another anchor of the repairs",
        {"recover": 1} | AFTER_RECOVER | CONTRASTS,
        "recovery: {repairs: [{target: last, anchor: sft@8,"
        " interventions: [{kind: interpolate, weight: 0.5}]}]}",
    ),
    Row(
        "other pairs, of which one is new",
        {"measure_drift": 1} | AFTER_DRIFT,
        "spectra: {pairs: [[base, sft@16], [sft@4, sft@8]]}",
    ),
    Row(
        "one more seed",
        {rule: count for rule, count in OF_A_SEED.items() if rule != "show_replies"},  # of seed 0
        "seeds: [0, 1]",
    ),
    Row(
        "one more start of RL",
        {"train_ppo": 1, "train_continued": 1, "keep_ppo": 1, "keep_continued": 1}
        | {"evaluate": 2, "decompose": 1, "measure_drift": 1, "measure_updates": 1}
        | COLLECT_SPECTRA
        | OF_LOSSES
        | OF_UPDATES
        | AFTER_EVALUATE
        | OF_EFFECT
        | AFTER_DRIFT
        | AFTER_UPDATES
        | OF_STORY,
        "stages: {ppo: {from: [sft@4, sft@8, sft@16]}}",
    ),
    Row(
        "a stage removed",
        AFTER_EVALUATE | OF_EFFECT | OF_LOSSES | CONTRASTS | OF_STORY,
        "stages: {wide: null}\nstory: {controls: [continued, demonstrated]}",
    ),
    Row(
        "a stage added at the end",
        once("train_more", "keep_more", "evaluate") | AFTER_EVALUATE | OF_LOSSES,
        "stages: {more: {method: sft, from: ppo@end of sft@16, on: demonstrations, steps: 4}}",
    ),
    Row(
        "a control added",
        {"train_wide": 1, "keep_wide": 1, "evaluate": 1}
        | AFTER_EVALUATE
        | OF_EFFECT
        | OF_LOSSES
        | OF_STORY,
        "stages: {wide: {from: [sft@4, sft@16]}}",
    ),
    Row("processes", {}, "compute: {processes: 2, threads: 2}"),
    Row("sharding", {}, "compute: {processes: 2, nodes: 2, sharding: fsdp2}"),
    Row("a GPU", {}, "compute: {gpus: 1}"),
    Row("what jobs ask for", {}, "compute: {resources: {train_sft: {mem_mb: 9000}}}"),
    Row("memory of jobs", {}, arguments=("--set-resources", "train_sft:mem_mb=9000")),
    Row(
        "the site of a cluster",
        {},
        change=write(
            "slurm/site.yaml", "gpu: {partition: big}\ngres: gpu\nsetup: umask 027\nwithin: env\n"
        ),
    ),
    # Code
    Row("a figure", plots("stages"), change=edited("svdrift/figures/stages.py")),
    Row(
        "style of the figures",
        OF_ACCURACY
        | OF_OBJECTIVES
        | OF_RECOVERY
        | OF_DRIFT
        | plots("rl_effect", "advantages", "rl_update"),
        change=edited("svdrift/figures/style.py"),
    ),
    Row("the verifier", EVERYTHING, change=edited("svdrift/tasks/general_points/verifier.py")),
    Row("the prompts", EVERYTHING, change=edited("svdrift/tasks/general_points/prompts.py")),
    Row(
        "decompositions",
        {"decompose": 6} | AFTER_DECOMPOSE,
        change=edited("svdrift/spectra/decomposition.py"),
    ),
    Row(
        "interventions' arithmetic",
        {"recover": 6} | AFTER_RECOVER | CONTRASTS,
        change=edited("svdrift/recovery/apply.py"),
    ),
    Row(
        "one kind of intervention",
        {"recover": 1} | AFTER_RECOVER,
        change=edited("svdrift/recovery/kinds/values.py"),
    ),
    Row("PPO", PPO | AFTER_PPO, change=edited("svdrift/training/ppo/train.py")),
    Row("a method that no stage has", {}, change=edited("svdrift/training/grpo/train.py")),
    Row(
        "SFT",
        {"train_sft": 1} | CONTROLS | AFTER_SFT,
        change=edited("svdrift/training/sft/train.py"),
    ),
    Row(
        "statistics", EVALUATIONS | {"recover": 6}, change=edited("svdrift/evaluation/accuracy.py")
    ),
    Row(
        "comparisons",
        OF_EFFECT | AFTER_RECOVER | CONTRASTS,
        change=edited("svdrift/evaluation/comparisons.py"),
    ),
    Row("contrasts", CONTRASTS, change=edited("svdrift/evaluation/contrasts.py")),
    Row(
        "a probe",
        once("probe_seen", "collect_probe_seen", "write_report"),
        "probes: {seen: {kind: scores, of: [sft@16]}}",
    ),
    Row(
        "a choice of ranks",
        once("choose_ranks_one", *(f"collect_rank_{t}" for t in ("searches", "shares", "episodes")))
        | plots("rank_searches"),
        "ranks: {one: {task: keep, target: sft@16, cost: 0.5}}",
    ),
    Row("claims", FINDINGS, change=edited("svdrift/findings/claims.py")),
    Row("a caption", once("write_report"), change=append("workflow/report/stages.rst", "More.")),
    Row(
        "the report's page",
        once("write_report"),
        change=append("workflow/report/page.html.jinja", "<!-- More. -->\n"),
    ),
    Row(
        "precision of training",
        {"train_sft": 1} | AFTER_SFT,
        change=append("workflow/accelerate/gpu.yaml", "downcast_bf16: true\n"),
    ),
    Row(
        "published numbers",
        plots("recovery_by_rank"),
        change=append("svdrift/reference/singular_value_control.csv", "\n"),
    ),
    Row("comments", {}, change=append("svdrift/training/sft/train.py", "\n\n# A comment.\n")),
    Row("a docstring", {}, change=append("svdrift/spectra/angles.py", '\n\n"""More to say."""\n')),
    Row("format", {}, change=append("svdrift/spectra/angles.py", "\n\n\n")),
    Row("a description of a setting", {}, change=edited("svdrift/training/ppo/settings.py")),
    Row("the store", {}, change=edited("svdrift/store.py")),
    Row("documents", {}, change=append("docs/how-it-works.md", "More.\n")),
    Row("tests", {}, change=edited("tests/test_tables.py")),
    Row(
        "a version of the package", {}, change=append("svdrift/__init__.py", '__version__ = "9"\n')
    ),
    # Software
    Row(
        "another matplotlib",
        OF_ACCURACY
        | OF_OBJECTIVES
        | OF_RECOVERY
        | OF_DRIFT
        | plots("rl_effect", "advantages", "rl_update"),
        change=another_version("matplotlib"),
        said="matplotlib 0.0.1",
    ),
    Row(
        "another trl", {"train_sft": 1} | AFTER_SFT, change=another_version("trl"), said="trl 0.0.1"
    ),
    # Files
    Row("a touched table", {}, change=touch("tables/accuracy.parquet")),
    Row("touched problems", {}, change=touch("seed-0/problems/demonstrations.parquet")),
    Row("a figure's data removed", plots("stages"), change=remove("figures/stages.csv")),
    Row("a benchmark removed", {}, change=remove("benchmarks/plot_stages.tsv")),
]


@pytest.fixture(scope="module")
def plans(request, smoke, clone, tmp_path_factory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What a dry run says after each change that is to be tested."""
    wanted = {
        item.callspec.params["row"].name
        for item in request.session.items
        if item.module is request.module
    }

    def plan(row: Row) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("plan") / "clone"
        shutil.copytree(clone, folder, symlinks=True, copy_function=os.link)
        (folder / "row.yaml").write_text(row.overlay)
        row.change(folder)
        said = snakemake_in(folder)("-n", *SMOKE, "row.yaml", *row.arguments)
        shutil.rmtree(folder)
        return said

    with ThreadPoolExecutor(2) as pool:
        rows = [row for row in ROWS if row.name in wanted]
        return {row.name: said for row, said in zip(rows, pool.map(plan, rows), strict=True)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_change_reruns_exactly_what_lies_downstream(row, plans):
    plan = plans[row.name]
    assert plan.returncode == 0, plan.stderr[-2000:]
    assert jobs(plan.stdout + plan.stderr) == row.planned
    assert row.said in plan.stdout + plan.stderr
