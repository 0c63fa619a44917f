PPO, GRPO = STUDY.rl.ppo, STUDY.rl.grpo  # which one trains is decided by STUDY.rl_result


rule train_ppo:
    """PPO on the ID rule, from one SFT checkpoint, on all hands of the practice set."""
    input:
        model=SEED + "/models/sft-{step}",
        hands=SEED + "/hands/practice.parquet",
    output:
        model=directory(SEED + "/models/ppo-from-{step}"),
        intermediate=[
            directory(f"{SEED}/models/ppo-from-{{step}}-update-{update}")
            for update in PPO.checkpoint_updates
        ],
        metrics=SEED + "/training/ppo-from-{step}/metrics.parquet",
        advantages=SEED + "/training/ppo-from-{step}/advantages.parquet",
    log:
        LOGS + "/seed-{seed}/ppo-from-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/ppo-from-{step}.tsv"
    priority: 1  # most other jobs wait for training
    threads: STUDY.compute.threads
    resources:
        **needs("train_ppo", mem_mb=4000, runtime=120, **TRAINING),
        settings=untracked(PPO),
        generation=untracked(STUDY.generation),
        work=filled(SEED + "/snapshots/ppo-from-{step}"),
    params:
        **generating("scripts/train_ppo.py"),
        settings=as_json(PPO),
        task=as_json(STUDY.task.game("practice")),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
        launch=LAUNCH,
    shell:
        reuse(
            ACCELERATE
            + "scripts/train_ppo.py"
            + GENERATION
            + " --settings {params.settings:q} {resources.settings:q} --task {params.task:q}"
            " --max-reply-tokens {params.max_reply_tokens} --seed {wildcards.seed}"
            " --dtype {params.dtype} --model {input.model} --hands {input.hands}"
            " --out {output.model} --intermediate {output.model}-update-{{update}}"
            " --metrics {output.metrics} --advantages {output.advantages} --work {resources.work}"
        )


use rule train_ppo as train_ppo_on_demonstrations with:
    """Control: PPO that practises only the hands that SFT has demonstrated."""
    input:
        model=SEED + "/models/sft-{step}",
        hands=SEED + "/hands/demonstrations.parquet",
    output:
        model=directory(SEED + "/models/demonstrated-ppo-from-{step}"),
        intermediate=[
            directory(f"{SEED}/models/demonstrated-ppo-from-{{step}}-update-{update}")
            for update in PPO.checkpoint_updates
        ],
        metrics=SEED + "/training/demonstrated-ppo-from-{step}/metrics.parquet",
        advantages=SEED + "/training/demonstrated-ppo-from-{step}/advantages.parquet",
    log:
        LOGS + "/seed-{seed}/demonstrated-ppo-from-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/demonstrated-ppo-from-{step}.tsv"
    resources:
        **needs("train_ppo_on_demonstrations", mem_mb=4000, runtime=120, **TRAINING),
        settings=untracked(PPO),
        generation=untracked(STUDY.generation),
        work=filled(SEED + "/snapshots/demonstrated-ppo-from-{step}"),
    params:
        **generating("scripts/train_ppo.py"),
        settings=as_json(PPO),
        task=as_json(STUDY.task.game("practice")),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
        launch=LAUNCH,


rule train_grpo:
    """GRPO on the ID rule, from one SFT checkpoint: the comparison method, in PPO's place."""
    input:
        model=SEED + "/models/sft-{step}",
        hands=SEED + "/hands/practice.parquet",
    output:
        model=directory(SEED + "/models/grpo-from-{step}"),
        intermediate=[
            directory(f"{SEED}/models/grpo-from-{{step}}-update-{update}")
            for update in GRPO.checkpoint_updates
        ],
        metrics=SEED + "/training/grpo-from-{step}/metrics.parquet",
    log:
        LOGS + "/seed-{seed}/grpo-from-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/grpo-from-{step}.tsv"
    priority: 1  # most other jobs wait for training
    threads: STUDY.compute.threads
    resources:
        **needs("train_grpo", mem_mb=4000, runtime=120, **TRAINING),
        settings=untracked(GRPO),
        generation=untracked(STUDY.generation),
        work=filled(SEED + "/snapshots/grpo-from-{step}"),
    params:
        **generating("scripts/train_grpo.py"),
        settings=as_json(GRPO),
        task=as_json(STUDY.task.game("practice")),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
        launch=LAUNCH,
    shell:
        reuse(
            ACCELERATE
            + "scripts/train_grpo.py"
            + GENERATION
            + " --settings {params.settings:q} {resources.settings:q} --task {params.task:q}"
            " --max-reply-tokens {params.max_reply_tokens} --seed {wildcards.seed}"
            " --dtype {params.dtype} --model {input.model} --hands {input.hands}"
            " --out {output.model} --intermediate {output.model}-update-{{update}}"
            " --metrics {output.metrics} --work {resources.work}"
        )


use rule train_grpo as train_grpo_on_demonstrations with:
    """Control: GRPO that practises only the hands that SFT has demonstrated."""
    input:
        model=SEED + "/models/sft-{step}",
        hands=SEED + "/hands/demonstrations.parquet",
    output:
        model=directory(SEED + "/models/demonstrated-grpo-from-{step}"),
        intermediate=[
            directory(f"{SEED}/models/demonstrated-grpo-from-{{step}}-update-{update}")
            for update in GRPO.checkpoint_updates
        ],
        metrics=SEED + "/training/demonstrated-grpo-from-{step}/metrics.parquet",
    log:
        LOGS + "/seed-{seed}/demonstrated-grpo-from-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/demonstrated-grpo-from-{step}.tsv"
    resources:
        **needs("train_grpo_on_demonstrations", mem_mb=4000, runtime=120, **TRAINING),
        settings=untracked(GRPO),
        generation=untracked(STUDY.generation),
        work=filled(SEED + "/snapshots/demonstrated-grpo-from-{step}"),
    params:
        **generating("scripts/train_grpo.py"),
        settings=as_json(GRPO),
        task=as_json(STUDY.task.game("practice")),
        max_reply_tokens=STUDY.task.max_reply_tokens,
        dtype=STUDY.model.dtype,
        launch=LAUNCH,


rule continue_sft:
    """Control: SFT goes on, on the same demonstrations, matched to RL (`matched_sft`)."""
    input:
        model=SEED + "/models/sft-{step}",
        hands=SEED + "/hands/demonstrations.parquet",
    output:
        model=directory(SEED + "/models/continued-from-{step}"),
        losses=SEED + "/training/continued-from-{step}/losses.parquet",
    log:
        LOGS + "/seed-{seed}/continued-from-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/continued-from-{step}.tsv"
    priority: 1  # most other jobs wait for training
    threads: STUDY.compute.threads
    resources:
        **needs("continue_sft", mem_mb=4000, runtime=60, **TRAINING),
        settings=untracked(STUDY.matched_sft),
        work=filled(SEED + "/snapshots/continued-from-{step}"),
    params:
        **code("scripts/train_sft.py"),
        settings=as_json(STUDY.matched_sft),
        task=as_json(STUDY.task.game("demonstrations")),
        dtype=STUDY.model.dtype,
        launch=LAUNCH,
    shell:
        reuse(TRAIN_SFT + " --out {output.model} --losses {output.losses}")


use rule continue_sft as widen_sft with:
    """Control: SFT goes on, on all the hands that RL practises, matched to RL."""
    input:
        model=SEED + "/models/sft-{step}",
        hands=SEED + "/hands/practice.parquet",
    output:
        model=directory(SEED + "/models/wide-from-{step}"),
        losses=SEED + "/training/wide-from-{step}/losses.parquet",
    log:
        LOGS + "/seed-{seed}/wide-from-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/wide-from-{step}.tsv"
    resources:
        **needs("widen_sft", mem_mb=4000, runtime=60, **TRAINING),
        settings=untracked(STUDY.matched_sft),
        work=filled(SEED + "/snapshots/wide-from-{step}"),


rule measure_rl_effect:
    """RL's result against each control from the same start, paired on the same hands."""
    input:
        expand(
            SEED + "/evaluation/{checkpoint}/episodes.parquet",
            seed=STUDY.seeds,
            checkpoint=[
                *(f"sft-{step}" for step in STUDY.rl_starts),
                *(STUDY.rl_result(step) for step in STUDY.rl_starts),
                *CONTROL_CHECKPOINTS,
            ],
        ),
    output:
        TABLES + "/rl_effect.parquet",
    log:
        LOGS + "/measure_rl_effect.log",
    benchmark:
        BENCHMARKS + "/measure_rl_effect.tsv"
    resources:
        **needs(mem_mb=4000, runtime=20),
    params:
        **code("scripts/measure_rl_effect.py"),
        method=STUDY.rl.method,
    shell:
        logged(
            "python scripts/measure_rl_effect.py --method {params.method} --episodes {input} --out {output}"
        )


rule collect_advantages:
    """Histograms of advantages during PPO from every start, in one table."""
    input:
        expand(
            SEED + "/training/ppo-from-{step}/advantages.parquet",
            seed=STUDY.seeds,
            step=STUDY.rl_starts,
        ),
    output:
        TABLES + "/advantages.parquet",
    log:
        LOGS + "/collect_advantages.log",
    benchmark:
        BENCHMARKS + "/collect_advantages.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/collect.py"),
    shell:
        logged("python scripts/collect.py {input} --out {output}")


rule rl:
    input:
        expand(
            SEED + "/models/{run}",
            seed=STUDY.seeds,
            run=[*map(STUDY.rl_result, STUDY.rl_starts), *CONTROL_CHECKPOINTS],
        ),
