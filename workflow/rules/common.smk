"""Loads and validates the study, and names its paths. Nothing is computed here."""

import hashlib
import sys
from pathlib import Path
from typing import get_args

from svdrift.checkpoints import ANCHOR
from svdrift.errors import UserError
from svdrift.models.backend import MODULES, require_installed, versions
from svdrift.models.sources import HubModel, files_of, find_source
from svdrift.recovery.grid import to_json
from svdrift.settings.evaluation import REPAIRED_SPLITS, EvaluatedSplit
from svdrift.settings.study import read_settings
from svdrift.tasks.general_points.files import read_own_hands
from svdrift.tracking import code_digest, software
from svdrift.training.launch import require_software

try:
    STUDY = read_settings(config)
    require_software(STUDY.compute)
    require_installed(STUDY.generation)
    read_own_hands(STUDY.task)
    if STUDY.model.source != "tiny":
        find_source(STUDY.model.source)
except UserError as error:
    sys.exit(f"error: {error}")

RESULTS = f"results/{STUDY.study}"
SEED = f"{RESULTS}/seed-{{seed}}"  # everything that one seed decides
TABLES = f"{RESULTS}/tables"  # tidy tables over all seeds
FIGURES = f"{RESULTS}/figures"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"


wildcard_constraints:
    seed=r"\d+",
    step=r"\d+",
    checkpoint=r"[a-z0-9-]+",


# A job's `params` are all that decides its result, and nothing else: they are what makes it run
# again, and what its result is stored by. What decides nothing, such as places, is a resource.


def as_json(section, without=()):
    """What decides results among the settings of a section, as the plain text that scripts take."""
    return section.model_dump_json(exclude=section.UNTRACKED | set(without))


def untracked(section):
    """The other settings of the section."""
    return section.model_dump_json(include=section.UNTRACKED)


def code(*scripts):
    """Parameters that say which code, of ours and of others, a job runs."""
    return {"code": code_digest(*scripts), "software": software(*scripts)}


def generating(script):
    """Parameters of a job whose script lets a model write: its code, and what it writes by."""
    return {
        **code(script, *MODULES[STUDY.generation.backend]),
        "generation": as_json(STUDY.generation),
        "writer": versions(STUDY.generation),
    }


# How a script is told.
GENERATION = " --generation {params.generation:q} {resources.generation:q}"


def filled(path):
    """A path with wildcards as a resource."""
    return lambda wildcards: path.format(**dict(wildcards.items()))


def logged(command):
    """The command, what it prints in the rule's log too, and what ended it (workflow/logged.sh)."""
    return (
        "workflow/logged.sh {log} {resources.attempt} {resources.mem_mb} {resources.runtime}"
        f" {command}"
    )


def reuse(command, inputs="{input:q}", outputs="{output}", also=""):
    """The command, which runs only if no study has stored what it makes (scripts/reuse.py)."""
    template = hashlib.sha256(command.encode()).hexdigest()[:16]
    return logged(
        f"python scripts/reuse.py --key {template} {{wildcards}} {{params:q}} {also}"
        f" --inputs {inputs} --outputs {outputs} -- {command}"
    )


# Checkpoint ids, by the stage that makes them.
SFT_CHECKPOINTS = STUDY.sft_checkpoints
CONTROL_CHECKPOINTS = STUDY.control_checkpoints
EVALUATED_CHECKPOINTS = STUDY.checkpoints


def made_of():
    """What the study was made of, in words, for captions."""
    rl = STUDY.rl.training
    base = STUDY.model.source
    if base == "tiny":
        shape = STUDY.model.architecture
        base = f"tiny Llama of width {shape.hidden_size} with {shape.layers} layers"
    parts = [
        f"Study {STUDY.study}, seed{'s' * (len(STUDY.seeds) > 1)} {', '.join(map(str, STUDY.seeds))}",
        f"{STUDY.task.hands.test:,} test hands per rule and seed",
        f"ID rule {STUDY.task.id_rule}, OOD rule {STUDY.task.ood_rule}",
        f"base model: {base}",
        f"SFT: {STUDY.sft.steps} steps of {STUDY.sft.batch_size} at {STUDY.sft.learning_rate:g}",
    ]
    if STUDY.rl_starts:
        parts.append(
            f"{STUDY.rl.method.upper()}: {rl.updates} updates of {rl.episodes} episodes at "
            f"{rl.learning_rate:g}, from SFT steps {', '.join(map(str, STUDY.rl_starts))}"
        )
    return "; ".join(parts) + "."


config["made_of"] = made_of()  # captions of the report read it


def where_to_look():
    return f"\nFindings: {RESULTS}/report/README.md\nFigures:  {FIGURES}/\nTables:   {TABLES}/"
