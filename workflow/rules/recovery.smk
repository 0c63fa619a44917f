from snakemake.exceptions import WorkflowError

REPAIRS = STUDY.repairs
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


rule recover:
    """Repair a checkpoint in memory, and let it play the test splits once."""
    input:
        unpack(repaired),
        hands=expand(
            SEED + "/hands/{split}.parquet",
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
        repair="|".join(REPAIRS),
        intervention="[^/]+",
    resources:
        **needs("recover", mem_mb=4000, runtime=30, gpus=GPU),
        folder=filled(SEED),
        settings=untracked(STUDY.evaluation),
        generation=untracked(STUDY.generation),
    params:
        **generating("scripts/recover.py"),
        settings=as_json(STUDY.evaluation, without=["tries", "multi_try_splits"]),
        task=as_json(STUDY.task.game(*REPAIRED_SPLITS)),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
        target=lambda wildcards: REPAIRS[wildcards.repair].target,
        anchor=lambda wildcards: REPAIRS[wildcards.repair].anchor,
        intervention=intervention,
    shell:
        reuse(
            "python scripts/recover.py --settings {params.settings:q} {resources.settings:q}"
            + GENERATION
            + " --task {params.task:q} --max-reply-tokens {params.max_reply_tokens}"
            + FIND_CHECKPOINTS
            + " --repair {wildcards.repair} --target {params.target} --anchor {params.anchor}"
            " --intervention {params.intervention:q} --hands {input.hands}"
            " --seed {wildcards.seed} --device {resources.device} --dtype {params.dtype}"
            " --episodes {output.episodes} --accuracy {output.accuracy}",
            inputs="{input.hands} " + COMPARED,
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
        repair="|".join(REPAIRS),
        intervention="[^/]+",
    resources:
        **needs("export_recovered", mem_mb=4000, runtime=30, gpus=GPU),
        folder=filled(SEED),
    params:
        **code("scripts/export_recovered.py"),
        target=lambda wildcards: REPAIRS[wildcards.repair].target,
        anchor=lambda wildcards: REPAIRS[wildcards.repair].anchor,
        intervention=intervention,
    shell:
        logged(
            "python scripts/export_recovered.py"
            + FIND_CHECKPOINTS
            + " --target {params.target} --anchor {params.anchor}"
            " --intervention {params.intervention:q} --device {resources.device} --out {output}"
        )


rule measure_recovery:
    """Accuracies of all variants, and what each regained and lost, paired on the same hands."""
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
            " --recovery {output.recovery} --effect {output.effect}"
        )


rule recovery:
    input:
        [TABLES + "/recovery.parquet", TABLES + "/recovery_effect.parquet"] if VARIANTS else [],
