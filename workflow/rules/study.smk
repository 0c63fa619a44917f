"""Loads and validates the study, and names its paths: all that other rule files share.

Nothing is computed here, and nothing in `results/` is read.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

from svdrift import plugins
from svdrift.checkpoints import ANCHOR, Checkpoint
from svdrift.errors import UserError
from svdrift.live import require_tracker
from svdrift.models.backend import MODULES, require_installed, versions
from svdrift.study.overlays import DEFAULT, require_name
from svdrift.study.settings import read_settings
from svdrift.tracking import code_digest, software
from svdrift.training.launch import require_software

try:
    require_name(config, map(Path, workflow.overwrite_configfiles), DEFAULT)
    STUDY = read_settings(config)
    require_software(STUDY.compute)
    require_tracker(STUDY.tracking)
    require_installed(STUDY.generation)
    STUDY.task.check_problems()
    STUDY.check_files()
    if workflow.is_main_process:  # and not in each job that it submits
        STUDY.task.check_supply(STUDY.seeds)
except UserError as error:
    sys.exit(f"error: {error}")

STORY = STUDY.resolved_story
# What most figures and claims read: not the labels of stages without a part in the story.
ROLES = STORY.model_copy(
    update={
        "labels": {
            name: label
            for name, label in STORY.labels.items()
            if name
            in {Checkpoint.parse(id).stage for id in STORY.path}
            | {role.stage for role in STORY.ends}
        }
    }
)
RESULTS = f"results/{STUDY.study}"
SEED = f"{RESULTS}/seed-{{seed}}"  # everything that one seed decides
TABLES = f"{RESULTS}/tables"  # tidy tables over all seeds
FIGURES = f"{RESULTS}/figures"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"


wildcard_constraints:
    seed=r"\d+",
    checkpoint=r"[a-z][a-z0-9_.-]*",


# A job's `params` are all that decides its result, and nothing else: they make it run again, and
# its result is stored under them. What decides nothing, such as places, is a resource.


def as_json(section, without=()):
    """What decides results among the settings of a section, as JSON, which scripts take."""
    return section.model_dump_json(exclude=section.UNTRACKED | set(without))


def untracked(section):
    """The other settings of the section."""
    return section.model_dump_json(include=section.UNTRACKED)


def splits_as_json(splits):
    """Names, roles and shifts, which tables repeat; labels decide nothing."""
    kept = {"name", "role", "shift"}
    return json.dumps([split.model_dump(include=kept) for split in splits])


def playing(*data, rewards=True):
    """What playing problems of these splits or data takes from the task, as JSON."""
    return json.dumps(STUDY.play_settings(*data, rewards=rewards))


def code(*scripts):
    """Parameters that say which code, the project's and others', a job runs."""
    try:
        return {"code": code_digest(*scripts), "software": software(*scripts)}
    except UserError as error:
        sys.exit(f"error: {error}")


TASK = plugins.files("svdrift.tasks", STUDY.task.name, "task")  # of jobs that use the task


def generating(*scripts):
    """Parameters of a job whose script lets a model generate replies to the task's problems."""
    return {
        **code(*scripts, *TASK, *MODULES[STUDY.generation.backend]),
        "generation": as_json(STUDY.generation),
        "writer": versions(STUDY.generation),
    }


GENERATION = " --generation {params.generation:q} {resources.generation:q}"


def filled(path):
    """A path with wildcards as a resource."""
    return lambda wildcards: path.format(**dict(wildcards.items()))


def matching(names):
    """A wildcard constraint: one of the names."""
    return "|".join(map(re.escape, names))


def logged(command):
    """The command, with its output copied to the rule's log (workflow/logged.sh)."""
    return (
        "workflow/logged.sh {log} {resources.attempt} {resources.mem_mb} {resources.runtime}"
        f" {command}"
    )


def reuse(command, inputs="{input:q}", outputs="{output}"):
    """The command, unless the store holds its outputs already (scripts/reuse.py)."""
    template = hashlib.sha256(command.encode()).hexdigest()[:16]
    # A run's name decides nothing of what training makes; the steps that it keeps do.
    key = "{wildcards.seed} {resources.keep}" if "{resources.keep}" in command else "{wildcards}"
    return logged(
        f"python scripts/reuse.py --key {template} {key} {{params:q}}"
        f" --inputs {inputs} --outputs {outputs} -- {command}"
    )


def decomposed(wildcards, *names):
    """Inputs of a job on checkpoints and their factors, any of which may be named `anchor`."""
    folder = SEED.format(seed=wildcards.seed)

    def models_and_factors(ids):
        patterns = ["{folder}/models/{id}", "{folder}/spectra/{id}/factors.safetensors"]
        return expand(patterns, folder=folder, id=ids)

    chosen = ANCHOR in names
    return {
        "checkpoints": models_and_factors([name for name in names if name != ANCHOR]),
        "candidates": models_and_factors(STORY.candidates if chosen else []),
        "choice": [f"{folder}/selection/anchor.json"] if chosen else [],
    }


# How a script finds these inputs.
FIND_CHECKPOINTS = (
    " --models {resources.folder}/models/{{checkpoint}}"
    " --factors {resources.folder}/spectra/{{checkpoint}}/factors.safetensors"
    " --anchor-choice {resources.folder}/selection/anchor.json"
)
# Of the candidates only the chosen one counts.
COMPARED = "{input.checkpoints} --candidates {input.candidates} --choice {input.choice}"


def made_of():
    """What the study was made of, in words, for captions."""
    seeds = ", ".join(map(str, STUDY.seeds))
    parts = [f"Study {STUDY.study}, seed{'s' * (len(STUDY.seeds) > 1)} {seeds}"]
    parts.append(STUDY.task.summary)
    for stage in STUDY.graph:
        of = [str(start) for start in stage.starts if start is not None]
        parts.append(
            f"{stage.name}: {stage.record.label}"
            + (f" of {stage.settings.summary}" if stage.settings.summary else "")
            + (f" on {stage.data}" if stage.data else "")
            + (f", from {', '.join(of)}" if of else "")
        )
    return "; ".join(parts) + "."


config["made_of"] = made_of()  # captions of the report read it


rule configuration:
    """The study as it was resolved: every setting, defaults included, and the story's ids."""
    output:
        settings=RESULTS + "/configuration.json",
        story=RESULTS + "/story.json",
    localrule: True
    params:
        settings=lambda _: STUDY.model_dump_json(indent=2),
        story=lambda _: STORY.model_dump_json(indent=2),
    run:
        Path(output.settings).write_text(params.settings + "\n")
        Path(output.story).write_text(params.story + "\n")
