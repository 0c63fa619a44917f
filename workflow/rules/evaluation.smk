EVALUATED_SPLITS = get_args(EvaluatedSplit)


rule evaluate:
    """Let one checkpoint play every evaluation split."""
    input:
        model=SEED + "/models/{checkpoint}",
        hands=expand(SEED + "/hands/{split}.parquet", split=EVALUATED_SPLITS, allow_missing=True),
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
        task=as_json(STUDY.task.game(*EVALUATED_SPLITS)),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
    shell:
        reuse(
            "python scripts/evaluate.py --settings {params.settings:q} {resources.settings:q}"
            + GENERATION
            + " --task {params.task:q} --max-reply-tokens {params.max_reply_tokens}"
            " --model {input.model} --checkpoint {wildcards.checkpoint} --hands {input.hands}"
            " --seed {wildcards.seed} --device {resources.device} --dtype {params.dtype}"
            " --episodes {output.episodes} --accuracy {output.accuracy}"
            " --objectives {output.objectives}"
        )


rule choose_anchor:
    """Choose the OOD peak of SFT on the selection hands; what follows reads the choice."""
    input:
        expand(
            SEED + "/evaluation/{checkpoint}/accuracy.parquet",
            checkpoint=SFT_CHECKPOINTS,
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
    shell:
        logged("python scripts/choose_anchor.py --accuracy {input} --out {output}")


rule collect_evaluations:
    """One kind of table of all evaluated checkpoints and seeds, in one."""
    input:
        expand(
            SEED + "/evaluation/{checkpoint}/{{table}}.parquet",
            seed=STUDY.seeds,
            checkpoint=EVALUATED_CHECKPOINTS,
        ),
    output:
        TABLES + "/{table}.parquet",
    log:
        LOGS + "/collect_{table}.log",
    benchmark:
        BENCHMARKS + "/collect_{table}.tsv"
    wildcard_constraints:
        table="accuracy|objectives",
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/collect.py"),
    shell:
        logged("python scripts/collect.py {input} --out {output}")


rule collect_anchors:
    """The anchors of all seeds, in one table."""
    input:
        expand(SEED + "/selection/anchor.json", seed=STUDY.seeds),
    output:
        TABLES + "/anchors.parquet",
    log:
        LOGS + "/collect_anchors.log",
    benchmark:
        BENCHMARKS + "/collect_anchors.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/collect.py"),
    shell:
        logged("python scripts/collect.py {input} --out {output}")


rule collect_sft_losses:
    """Losses along SFT of all seeds, in one table."""
    input:
        expand(SEED + "/training/sft.parquet", seed=STUDY.seeds),
    output:
        TABLES + "/sft_losses.parquet",
    log:
        LOGS + "/collect_sft_losses.log",
    benchmark:
        BENCHMARKS + "/collect_sft_losses.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/collect.py"),
    shell:
        logged("python scripts/collect.py {input} --out {output}")
