"""Repairs of checkpoints: giving back to a target something of an anchor."""

from snakemake.exceptions import WorkflowError

from svdrift.recovery.grid import to_json

REPAIRS = STUDY.repairs
REPAIRED_SPLITS = [split.name for split in STUDY.repaired_splits]
VARIANTS = [
    f"{repair}/{intervention.id}"
    for repair, plan in REPAIRS.items()
    for intervention in plan.interventions
]
# Whose own accuracies stand beside those of the variants.
REPAIRED = STUDY.candidates(
    *(name for plan in REPAIRS.values() for name in (plan.target, plan.anchor))
)


def repaired(wildcards):
    """Inputs of a job on the two checkpoints of a repair."""
    plan = REPAIRS[wildcards.repair]
    return decomposed(wildcards, plan.target, plan.anchor)


def intervention(wildcards):
    """The settings of an intervention as JSON; its id only names it."""
    found = {one.id: one for one in REPAIRS[wildcards.repair].interventions}
    if wildcards.intervention not in found:
        raise WorkflowError(
            f"{wildcards.repair}: no intervention {wildcards.intervention} (allowed: {', '.join(found)})"
        )
    return to_json(found[wildcards.intervention])


def kind_of(wildcards):
    """The code of the intervention's kind, which a script finds by its name."""
    found = {one.id: one for one in REPAIRS[wildcards.repair].interventions}
    kind = found[wildcards.intervention].kind
    return code_digest(*plugins.files("svdrift.recovery.kinds", kind))


rule recover:
    """Repair a checkpoint in memory, and evaluate it once."""
    input:
        unpack(repaired),
        problems=expand(
            SEED + "/problems/{split}.parquet",
            split=REPAIRED_SPLITS,
            allow_missing=True,
        ),
    output:
        episodes=SEED + "/recovery/{repair}/{intervention}/episodes.parquet",
        accuracy=SEED + "/recovery/{repair}/{intervention}/accuracy.parquet",
    log:
        LOGS + "/seed-{seed}/recover/{repair}/{intervention}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/recover/{repair}/{intervention}.tsv"
    wildcard_constraints:
        repair=matching(REPAIRS),
        intervention="[^/]+",
    resources:
        **needs("recover", mem_mb=4000, runtime=30, gpus=GPU),
        folder=filled(SEED),
        settings=untracked(STUDY.evaluation),
        generation=untracked(STUDY.generation),
    params:
        **generating("scripts/recover.py"),
        settings=as_json(STUDY.evaluation, without=["tries", "multi_try_splits"]),
        task=playing(*REPAIRED_SPLITS),
        splits=splits_as_json(STUDY.repaired_splits),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
        target=lambda wildcards: REPAIRS[wildcards.repair].target,
        anchor=lambda wildcards: REPAIRS[wildcards.repair].anchor,
        intervention=intervention,
        kind=kind_of,
    shell:
        reuse(
            "python scripts/recover.py --settings {params.settings:q} {resources.settings:q}"
            + GENERATION
            + " --task {params.task:q} --splits {params.splits:q} --max-reply-tokens {params.max_reply_tokens}"
            + FIND_CHECKPOINTS
            + " --repair {wildcards.repair} --target {params.target} --anchor {params.anchor}"
            " --intervention {params.intervention:q} --problems {input.problems}"
            " --seed {wildcards.seed} --device {resources.device} --dtype {params.dtype}"
            " --episodes {output.episodes} --accuracy {output.accuracy}",
            inputs="{input.problems} " + COMPARED,
        )


rule export_recovered:
    """A repaired checkpoint as a model folder. Made only when asked for by its path."""
    input:
        unpack(repaired),
    output:
        directory(SEED + "/recovery/{repair}/{intervention}/model"),
    log:
        LOGS + "/seed-{seed}/export_recovered/{repair}/{intervention}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/export_recovered/{repair}/{intervention}.tsv"
    wildcard_constraints:
        repair=matching(REPAIRS),
        intervention="[^/]+",
    resources:
        **needs("export_recovered", mem_mb=4000, runtime=30, gpus=GPU),
        folder=filled(SEED),
    params:
        **code("scripts/export_recovered.py"),
        target=lambda wildcards: REPAIRS[wildcards.repair].target,
        anchor=lambda wildcards: REPAIRS[wildcards.repair].anchor,
        intervention=intervention,
        kind=kind_of,
    shell:
        logged(
            "python scripts/export_recovered.py"
            + FIND_CHECKPOINTS
            + " --target {params.target} --anchor {params.anchor}"
            " --intervention {params.intervention:q} --device {resources.device} --out {output}"
        )


rule measure_recovery:
    """Accuracies of all variants, and what each regained and lost, paired on the same problems."""
    input:
        **{
            table: [
                *expand(
                    SEED + "/recovery/{variant}/{table}.parquet",
                    seed=STUDY.seeds,
                    variant=VARIANTS,
                    table=table,
                ),
                *expand(
                    SEED + "/evaluation/{checkpoint}/{table}.parquet",
                    seed=STUDY.seeds,
                    checkpoint=REPAIRED,
                    table=table,
                ),
            ]
            for table in ("accuracy", "episodes")
        },
    output:
        recovery=TABLES + "/recovery.parquet",
        effect=TABLES + "/recovery_effect.parquet",
        solved=TABLES + "/recovery_solved.parquet",
    log:
        LOGS + "/measure_recovery.log",
    benchmark:
        BENCHMARKS + "/measure_recovery.tsv"
    resources:
        **needs(mem_mb=4000, runtime=20),
    params:
        **code("scripts/measure_recovery.py"),
    shell:
        logged(
            "python scripts/measure_recovery.py --accuracy {input.accuracy} --episodes {input.episodes}"
            " --recovery {output.recovery} --effect {output.effect} --solved {output.solved}"
        )
