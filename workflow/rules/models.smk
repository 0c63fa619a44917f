import yaml

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
            **needs("pretrain", mem_mb=4000, runtime=60, gpus=GPU),
        params:
            **code("scripts/pretrain.py"),
            settings=as_json(STUDY.pretrain),
            architecture=as_json(STUDY.model.architecture),
            skills=as_json(STUDY.task.skills),
            dtype=STUDY.model.dtype,
        shell:
            reuse(
                "python scripts/pretrain.py --settings {params.settings:q}"
                " --skills {params.skills:q} --architecture {params.architecture:q}"
                " --seed {wildcards.seed} --device {resources.device} --dtype {params.dtype}"
                " --out {output.model} --losses {output.losses}"
            )

else:

    rule import_model:
        """Check the model that the study starts from strictly, and make it the study's base."""
        input:
            list(map(str, files_of(STUDY.model.source))),
        output:
            directory(SEED + "/models/base"),
        log:
            LOGS + "/seed-{seed}/import_model.log",
        benchmark:
            BENCHMARKS + "/seed-{seed}/import_model.tsv"
        # Compute nodes may have no way to the hub.
        localrule: isinstance(find_source(STUDY.model.source), HubModel)
        resources:
            **needs("import_model", mem_mb=8000, runtime=30),
        params:
            **code("scripts/import_model.py"),
            source=STUDY.model.source,
            dtype=STUDY.model.dtype,
        shell:
            logged(
                "python scripts/import_model.py --model {params.source:q} --dtype {params.dtype}"
                " --out {output}"
            )


# How training is launched decides how it rounds. Which of the files is taken is a resource.
LAUNCH = hashlib.sha256(
    repr(
        [yaml.safe_load(file.read_text()) for file in sorted(Path("workflow/accelerate").iterdir())]
    ).encode()
).hexdigest()[:16]

TRAIN_SFT = (
    ACCELERATE + "scripts/train_sft.py"
    " --settings {params.settings:q} {resources.settings:q} --task {params.task:q}"
    " --seed {wildcards.seed} --model {input.model} --hands {input.hands} --dtype {params.dtype}"
    " --work {resources.work}"
)


KEPT = sorted({*STUDY.sft.checkpoints, STUDY.sft.steps})  # the end too, so that a run has one


def keeping(*steps):
    """The untracked settings of an SFT run that keeps these checkpoints."""
    return untracked(STUDY.sft.model_copy(update={"checkpoints": steps}))


def was_kept(seed, step):
    """Whether the run keeps this step, or will: an old run does not know a step that is new."""
    run = Path(f"{RESULTS}/seed-{seed}/training/sft")
    return not run.is_dir() or (run / f"sft-{step}").is_dir()


ALL_KEPT = all(was_kept(seed, step) for seed in STUDY.seeds for step in STUDY.sft.checkpoints)


rule train_sft:
    """Fine-tune the base on demonstrations of the ID rule; the run keeps the listed checkpoints."""
    input:
        model=SEED + "/models/base",
        hands=SEED + "/hands/demonstrations.parquet",
    output:
        run=directory(SEED + "/training/sft"),
        losses=SEED + "/training/sft.parquet",
    log:
        LOGS + "/seed-{seed}/train_sft.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/train_sft.tsv"
    priority: 1  # most other jobs wait for training
    threads: STUDY.compute.threads
    resources:
        **needs("train_sft", mem_mb=4000, runtime=60, **TRAINING),
        kept=" ".join(map(str, KEPT)),
        settings=keeping(*KEPT),
        work=filled(SEED + "/snapshots/sft"),
    params:
        **code("scripts/train_sft.py"),
        settings=as_json(STUDY.sft),
        task=as_json(STUDY.task.game("demonstrations")),
        dtype=STUDY.model.dtype,
        launch=LAUNCH,
    shell:
        # Another study's run may have kept other steps.
        reuse(
            TRAIN_SFT + " --out {output.run}/sft-{{step}} --losses {output.losses}",
            also="{resources.kept}",
        )


rule keep_sft:
    """One checkpoint of SFT: from its run, or, if that did not keep it, by training up to it."""
    input:
        run=SEED + "/training/sft",
        model=SEED + "/models/base",
        hands=SEED + "/hands/demonstrations.parquet",
    output:
        directory(SEED + "/models/sft-{step}"),
    log:
        LOGS + "/seed-{seed}/keep_sft/sft-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/keep_sft/sft-{step}.tsv"
    localrule: ALL_KEPT  # makes links; only if it must train it is for the cluster
    threads: 1 if ALL_KEPT else STUDY.compute.threads
    resources:
        **needs("keep_sft", mem_mb=4000, runtime=60, **TRAINING),
        settings=lambda wildcards: keeping(int(wildcards.step)),
        work=filled(SEED + "/snapshots/sft-{step}"),
    params:
        **code("scripts/train_sft.py"),
        settings=as_json(STUDY.sft),
        task=as_json(STUDY.task.game("demonstrations")),
        dtype=STUDY.model.dtype,
        launch=LAUNCH,
    shell:
        # As links; as copies where the file system has none.
        "if test -d {input.run}/sft-{wildcards.step}; then "
        + logged("cp --recursive --link {input.run}/sft-{wildcards.step} {output}")
        + " || "
        + logged("cp --recursive --no-target-directory {input.run}/sft-{wildcards.step} {output}")
        + "; else "
        + reuse(TRAIN_SFT + " --out {output}", inputs="{input.model} {input.hands}")
        + "; fi"


rule sft:
    input:
        expand(
            SEED + "/models/{checkpoint}",
            seed=STUDY.seeds,
            checkpoint=SFT_CHECKPOINTS,
        ),
