"""Accuracy of every checkpoint, the choice of the anchor, and paired comparisons."""

EVALUATED_SPLITS = [split.name for split in STUDY.evaluated_splits]


rule evaluate:
    """Evaluate one checkpoint on every evaluation split."""
    input:
        model=SEED + "/models/{checkpoint}",
        problems=expand(
            SEED + "/problems/{split}.parquet", split=EVALUATED_SPLITS, allow_missing=True
        ),
    output:
        episodes=SEED + "/evaluation/{checkpoint}/episodes.parquet",
        accuracy=SEED + "/evaluation/{checkpoint}/accuracy.parquet",
        objectives=SEED + "/evaluation/{checkpoint}/objectives.parquet",
    log:
        LOGS + "/seed-{seed}/evaluate/{checkpoint}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/evaluate/{checkpoint}.tsv"
    resources:
        **needs("evaluate", mem_mb=4000, runtime=30, gpus=GPU),
        settings=untracked(STUDY.evaluation),
        generation=untracked(STUDY.generation),
    params:
        **generating("scripts/evaluate.py"),
        settings=as_json(
            STUDY.evaluation, without=[] if STUDY.evaluation.multi_try_splits else ["tries"]
        ),
        task=playing(*EVALUATED_SPLITS),
        splits=splits_as_json(STUDY.evaluated_splits),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
    shell:
        reuse(
            "python scripts/evaluate.py --settings {params.settings:q} {resources.settings:q}"
            + GENERATION
            + " --task {params.task:q} --splits {params.splits:q}"
            " --max-reply-tokens {params.max_reply_tokens}"
            " --model {input.model} --checkpoint {wildcards.checkpoint}"
            " --problems {input.problems}"
            " --seed {wildcards.seed} --device {resources.device} --dtype {params.dtype}"
            " --episodes {output.episodes} --accuracy {output.accuracy}"
            " --objectives {output.objectives}"
        )


rule choose_anchor:
    """Choose the OOD peak of the path, if none is named; what follows reads the choice."""
    input:
        expand(
            SEED + "/evaluation/{checkpoint}/accuracy.parquet",
            checkpoint=STORY.candidates,
            allow_missing=True,
        ),
    output:
        SEED + "/selection/anchor.json",
    log:
        LOGS + "/seed-{seed}/choose_anchor.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/choose_anchor.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/choose_anchor.py"),
        named="" if STORY.peak is None else "--named",
    shell:
        logged("python scripts/choose_anchor.py --accuracy {input} {params.named} --out {output}")


rule compare_checkpoints:
    """Paired differences between checkpoints, on the same problems."""
    input:
        expand(
            SEED + "/evaluation/{checkpoint}/episodes.parquet",
            seed=STUDY.seeds,
            checkpoint=dict.fromkeys(id for pair in STUDY.compared for id in pair),
        ),
    output:
        TABLES + "/comparisons.parquet",
    log:
        LOGS + "/compare_checkpoints.log",
    benchmark:
        BENCHMARKS + "/compare_checkpoints.tsv"
    resources:
        **needs(mem_mb=4000, runtime=20),
    params:
        **code("scripts/compare_checkpoints.py"),
        pairs=json.dumps(STUDY.compared),
    shell:
        logged(
            "python scripts/compare_checkpoints.py --pairs {params.pairs:q} --episodes {input}"
            " --out {output}"
        )
