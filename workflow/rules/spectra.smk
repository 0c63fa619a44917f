SPECTRA, PAIRS = STUDY.spectra, STUDY.pairs
UPDATES, DECOMPOSED = STUDY.update_starts, STUDY.decomposed


def decomposed(wildcards, *names):
    """Inputs of a job on checkpoints and their factors, any of which may be named `anchor`."""
    folder = SEED.format(seed=wildcards.seed)

    def models_and_factors(ids):
        patterns = ["{folder}/models/{id}", "{folder}/spectra/{id}/factors.safetensors"]
        return expand(patterns, folder=folder, id=ids)

    chosen = ANCHOR in names
    return {
        "checkpoints": models_and_factors([name for name in names if name != ANCHOR]),
        "candidates": models_and_factors(SFT_CHECKPOINTS if chosen else []),
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


rule decompose:
    """One singular value decomposition of each weight matrix of a checkpoint."""
    input:
        SEED + "/models/{checkpoint}",
    output:
        factors=SEED + "/spectra/{checkpoint}/factors.safetensors",
        spectrum=SEED + "/spectra/{checkpoint}/spectrum.parquet",
        matrices=SEED + "/spectra/{checkpoint}/matrices.parquet",
    log:
        LOGS + "/seed-{seed}/decompose/{checkpoint}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/decompose/{checkpoint}.tsv"
    resources:
        **needs("decompose", mem_mb=4000, runtime=60, gpus=GPU),
    params:
        **code("scripts/decompose.py"),
        # A function, since the `{layer}` of patterns is no wildcard.
        settings=lambda _: SPECTRA.model_dump_json(include={"patterns"}),
    shell:
        reuse(
            "python scripts/decompose.py --settings {params.settings:q} --model {input}"
            " --checkpoint {wildcards.checkpoint} --device {resources.device}"
            " --factors {output.factors} --spectrum {output.spectrum}"
            " --matrices {output.matrices}"
        )


rule measure_drift:
    """What moved between two checkpoints, beside what noise would have moved."""
    input:
        unpack(lambda wildcards: decomposed(wildcards, *PAIRS[wildcards.pair])),
    output:
        drift=SEED + "/drift/{pair}/drift.parquet",
        value_changes=SEED + "/drift/{pair}/value_changes.parquet",
    log:
        LOGS + "/seed-{seed}/measure_drift/{pair}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/measure_drift/{pair}.tsv"
    wildcard_constraints:
        pair="|".join(PAIRS),
    resources:
        **needs("measure_drift", mem_mb=4000, runtime=60, gpus=GPU),
        folder=filled(SEED),
    params:
        **code("scripts/measure_drift.py"),
        settings=SPECTRA.model_dump_json(include={"shares", "windows", "draws"}),
        names=lambda wildcards: PAIRS[wildcards.pair],
    shell:
        reuse(
            "python scripts/measure_drift.py --settings {params.settings:q}"
            + FIND_CHECKPOINTS
            + " --before {params.names[0]} --after {params.names[1]} --pair {wildcards.pair}"
            " --seed {wildcards.seed} --device {resources.device}"
            " --drift {output.drift} --value-changes {output.value_changes}",
            inputs=COMPARED,
        )


rule measure_updates:
    """SFT's update up to a start of RL, and RL's update from there."""
    input:
        unpack(
            lambda wildcards: decomposed(
                wildcards, "base", f"sft-{wildcards.step}", STUDY.rl_result(wildcards.step)
            )
        ),
    output:
        SEED + "/drift/updates-from-{step}.parquet",
    log:
        LOGS + "/seed-{seed}/measure_updates-from-{step}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/measure_updates-from-{step}.tsv"
    resources:
        **needs("measure_updates", mem_mb=4000, runtime=60, gpus=GPU),
        folder=filled(SEED),
    params:
        **code("scripts/measure_updates.py"),
        settings=SPECTRA.model_dump_json(include={"shares", "draws"}),
        result=lambda wildcards: STUDY.rl_result(wildcards.step),
    shell:
        reuse(
            "python scripts/measure_updates.py --settings {params.settings:q}"
            + FIND_CHECKPOINTS
            + " --base base --start sft-{wildcards.step} --result {params.result}"
            " --seed {wildcards.seed} --device {resources.device} --out {output}",
            inputs=COMPARED,
        )


use rule collect_evaluations as collect_spectra with:
    """Spectra of all decomposed checkpoints and seeds, in one table."""
    input:
        expand(
            SEED + "/spectra/{checkpoint}/{{table}}.parquet",
            seed=STUDY.seeds,
            checkpoint=DECOMPOSED,
        ),
    wildcard_constraints:
        table="spectrum|matrices",
    localrule: True


use rule collect_evaluations as collect_drift with:
    """Drift of all pairs and seeds, in one table."""
    input:
        expand(SEED + "/drift/{pair}/{{table}}.parquet", seed=STUDY.seeds, pair=PAIRS),
    wildcard_constraints:
        table="drift|value_changes",
    localrule: True


use rule collect_evaluations as collect_updates with:
    """The updates of SFT and RL of all starts and seeds, in one table."""
    input:
        expand(SEED + "/drift/{{table}}-from-{step}.parquet", seed=STUDY.seeds, step=UPDATES),
    wildcard_constraints:
        table="updates",
    localrule: True


rule spectra:
    input:
        expand(
            TABLES + "/{table}.parquet",
            table=[
                *(["spectrum", "matrices"] if DECOMPOSED else []),
                *(["drift", "value_changes"] if PAIRS else []),
                *(["updates"] if UPDATES else []),
            ],
        ),
