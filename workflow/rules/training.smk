"""A rule for each stage, which trains from each of its starts, and one that keeps its checkpoints."""

import yaml

from svdrift.study.early_stopping import selection_splits

# How training is launched decides how it rounds. Which of the files is taken is a resource.
LAUNCH = hashlib.sha256(
    repr(
        [yaml.safe_load(file.read_text()) for file in sorted(Path("workflow/accelerate").iterdir())]
    ).encode()
).hexdigest()[:16]


def method_file(stage):
    return plugins.files("svdrift.training", stage.method, "train")


def selection_of(stage):
    """The problems by which the stage may end early: none, unless its settings say so."""
    names = selection_splits(stage, STUDY.task.splits)
    return [f"{SEED}/problems/{name}.parquet" for name in names]


def train_parameters(stage):
    """All that decides what a run of the stage computes, its inputs aside."""
    record, selection = stage.record, selection_splits(stage, STUDY.task.splits)
    replies = record.plays or selection
    runs = generating if replies else code
    uses = TASK if record.learns_from != "nothing" else ()
    found = {
        **runs("scripts/train.py", *method_file(stage), *uses),
        "method": stage.method,
        "settings": as_json(stage.settings),
        "dtype": STUDY.model.dtype,
        "max_reply_tokens": STUDY.task.max_reply_tokens if replies else 0,
    }
    if selection:  # among the kept steps is the one at which training ends
        found["keep"] = lambda wildcards: steps_of(stage, run_in(wildcards))
    if record.learns_from == "problems":
        found["task"] = playing(stage.data, *selection, rewards=record.plays)
    if record.learns_from == "skills":
        found["skills"] = as_json(STUDY.task.skills)
    if record.launched:
        found["launch"] = LAUNCH
    return found


def train_command(stage):
    """The command that trains up to the last of the steps in `resources.keep`."""
    record, selection = stage.record, selection_splits(stage, STUDY.task.splits)
    return (
        (ACCELERATE if record.launched else "python ")
        + "scripts/train.py --method {params.method:q}"
        + " --settings {params.settings:q} {resources.settings:q}"
        + (
            " --task {params.task:q} --problems {input.problems}"
            * (record.learns_from == "problems")
        )
        + (" --skills {params.skills:q}" * (record.learns_from == "skills"))
        + (" --start {input.start}" * record.starts)
        + (" --selection {input.selection}" * bool(selection))
        + (
            GENERATION + " --max-reply-tokens {params.max_reply_tokens}"
            if record.plays or selection
            else ""
        )
        + " --seed {wildcards.seed} --dtype {params.dtype} --device {resources.device}"
        + " --keep {resources.keep} --work {resources.work} --tracking {resources.tracking:q}"
    )


def start_of(stage, run):
    start = stage.runs[run]
    return [] if start is None else f"{SEED}/models/{start}"


def steps_of(stage, run):
    start = stage.runs[run]
    return " ".join(str(checkpoint.step) for checkpoint in stage.kept(start))


def run_of(checkpoint):
    return Checkpoint.parse(checkpoint).run


def run_in(wildcards):
    """The run of a job that trains it, or that keeps one of its checkpoints."""
    found = dict(wildcards.items())
    return found["run"] if "run" in found else run_of(found["checkpoint"])


def stage_rules(stage):
    """The two rules of a stage. A function, so that their shell commands keep their own stage."""

    rule:
        name:
            f"train_{stage.name}"
        input:
            start=lambda wildcards: start_of(stage, wildcards.run),
            problems=f"{SEED}/problems/{stage.data}.parquet" if stage.data else [],
            selection=selection_of(stage),
            files=list(map(str, stage.settings.files)),
        output:
            **{table: f"{SEED}/training/{{run}}/{table}.parquet" for table in stage.record.tables},
            models=directory(SEED + "/training/{run}/models"),
        log:
            LOGS + "/seed-{seed}/train/{run}.log",
        benchmark:
            BENCHMARKS + "/seed-{seed}/train/{run}.tsv"
        wildcard_constraints:
            run=matching(stage.runs),
        priority: 1  # most other jobs wait for training
        localrule: stage.settings.needs_network  # compute nodes may have none
        threads: stage.settings.threads or STUDY.compute.threads
        resources:
            **needs(
                f"train_{stage.name}",
                mem_mb=4000,
                runtime=stage.record.runtime,
                **(TRAINING if stage.record.launched else {"gpus": GPU}),
            ),
            keep=lambda wildcards: steps_of(stage, wildcards.run),
            settings=untracked(stage.settings),
            generation=untracked(STUDY.generation),
            work=filled(SEED + "/snapshots/{run}"),
            tracking=tracking("seed-{seed}/{run}"),
        params:
            **train_parameters(stage),
        shell:
            # The run's name decides nothing; what is kept does, for the store.
            (reuse if stage.record.stored else logged)(
                train_command(stage)
                + " --models {output.models}/{{step}}"
                + " --tables $(dirname {output.models})/{{table}}.parquet"
                * bool(stage.record.tables)
            )

    rule:
        name:
            f"keep_{stage.name}"
        input:
            models=lambda wildcards: f"{SEED}/training/{run_of(wildcards.checkpoint)}/models",
            start=lambda wildcards: start_of(stage, run_of(wildcards.checkpoint)),
            problems=f"{SEED}/problems/{stage.data}.parquet" if stage.data else [],
            selection=selection_of(stage),
        output:
            directory(SEED + "/models/{checkpoint}"),
        log:
            LOGS + "/seed-{seed}/keep/{checkpoint}.log",
        benchmark:
            BENCHMARKS + "/seed-{seed}/keep/{checkpoint}.tsv"
        wildcard_constraints:
            checkpoint=matching(map(str, stage.checkpoints)),
        localrule: True  # makes links
        threads: stage.settings.threads or STUDY.compute.threads
        resources:
            **needs(
                mem_mb=4000,
                runtime=60,
                **(TRAINING if stage.record.launched else {}),
            ),
            keep=lambda wildcards: Checkpoint.parse(wildcards.checkpoint).step,
            # Where training may end early, one step alone would be another run.
            here="yes" if workflow.local_exec and not selection_of(stage) else "no",
            settings=untracked(stage.settings),
            generation=untracked(STUDY.generation),
            work=filled(SEED + "/snapshots/{checkpoint}"),
            tracking=tracking("seed-{seed}/{checkpoint}"),
        params:
            **train_parameters(stage),
        shell:
            # A step that the run did not keep, because it was added later, is trained up to, but not
            # on a cluster's log-in node.
            "kept={input.models}/{resources.keep}; if test -d $kept; then "
            + logged("python scripts/keep.py --kept $kept --out {output}")
            + '; elif test {resources.here} = no; then echo "error: {wildcards.checkpoint}: its run'
            " did not keep this step; run it again: snakemake --profile slurm --forcerun"
            f' train_{stage.name} ..." | tee {{log}} >&2; exit 2; else '
            + reuse(
                train_command(stage) + " --models {output}",
                inputs="{input.start} {input.problems} {input.selection}",
            )
            + "; fi"


for stage in STUDY.graph:
    stage_rules(stage)


rule models:
    input:
        expand(SEED + "/models/{checkpoint}", seed=STUDY.seeds, checkpoint=STUDY.checkpoints),
