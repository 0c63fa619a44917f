if STUDY.model.source == "tiny":

    rule pretrain:
        """Train the tiny base model on the skills of the game, not on their composition."""
        output:
            model=directory(SEED + "/models/base"),
            losses=SEED + "/training/pretrain.parquet",
        log:
            LOGS + "/seed-{seed}/pretrain.log",
        benchmark:
            BENCHMARKS + "/seed-{seed}/pretrain.tsv"
        threads: 2
        resources:
            mem_mb=4000,
            runtime=60,
            gpu=GPU,
            device=ACCELERATOR["device"],
        params:
            settings=as_json(STUDY.pretrain),
            architecture=as_json(STUDY.model.architecture),
            task=STUDY.task.model_dump_json(  # of the hands, only those that are held out matter
                exclude={
                    "hands": set(type(STUDY.task.hands).model_fields) - {"pretraining_holdout"}
                }
            ),
            code=code_digest("scripts/pretrain.py"),
        shell:
            "python scripts/pretrain.py --settings {params.settings:q} --task {params.task:q}"
            " --architecture {params.architecture:q} --seed {wildcards.seed}"
            " --device {resources.device} --out {output.model} --losses {output.losses} 2>&1 | tee {log}"

else:

    rule import_model:
        """Check the user's model strictly, and link it into the study as its base."""
        input:
            sorted(map(str, Path(STUDY.model.source).glob("[!.]*"))),
        output:
            directory(SEED + "/models/base"),
        log:
            LOGS + "/seed-{seed}/import_model.log",
        benchmark:
            BENCHMARKS + "/seed-{seed}/import_model.tsv"
        resources:
            mem_mb=8000,
            runtime=30,
        params:
            source=STUDY.model.source,
            code=code_digest("scripts/import_model.py"),
        shell:
            "python scripts/import_model.py --model {params.source:q} --out {output} 2>&1 | tee {log}"


rule train_sft:
    """Fine-tune the base on demonstrations of the ID rule, and keep the listed checkpoints."""
    input:
        model=SEED + "/models/base",
        hands=SEED + "/hands/demonstrations.parquet",
        id=SEED + "/hands/id_selection.parquet",
        ood=SEED + "/hands/ood_selection.parquet",
    output:
        models=[directory(f"{SEED}/models/sft-{step}") for step in STUDY.sft.checkpoints],
        losses=SEED + "/training/sft.parquet",
    log:
        LOGS + "/seed-{seed}/train_sft.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/train_sft.tsv"
    resources:
        **ACCELERATOR,
        mem_mb=4000,
        runtime=60,
    params:
        settings=as_json(STUDY.sft),
        task=as_json(STUDY.task, without=["hands", "max_reply_tokens"]),
        code=code_digest("scripts/train_sft.py"),
        work=SEED + "/snapshots/sft",
    shell:
        "accelerate launch --config_file workflow/accelerate/{resources.accelerate}.yaml"
        " --num_processes {resources.processes} scripts/train_sft.py"
        " --settings {params.settings:q} --task {params.task:q} --seed {wildcards.seed}"
        " --model {input.model} --hands {input.hands}"
        " --held-out id={input.id} ood={input.ood}"
        " --out {output.models} --losses {output.losses} --work {params.work} 2>&1 | tee {log}"


rule models:
    input:
        expand(
            SEED + "/models/{checkpoint}",
            seed=STUDY.seeds,
            checkpoint=SFT_CHECKPOINTS,
        ),
