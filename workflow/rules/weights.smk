"""Singular value decompositions of checkpoints, and what moved between them."""

SPECTRA, PAIRS = STUDY.spectra, STUDY.pairs


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
        settings=lambda _: SPECTRA.model_dump_json(include={"patterns", "factors"}),
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
        nulls=SEED + "/drift/{pair}/nulls.parquet",
        value_changes=SEED + "/drift/{pair}/value_changes.parquet",
    log:
        LOGS + "/seed-{seed}/measure_drift/{pair}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/measure_drift/{pair}.tsv"
    wildcard_constraints:
        pair=matching(PAIRS),
    resources:
        **needs("measure_drift", mem_mb=4000, runtime=60, gpus=GPU),
        folder=filled(SEED),
    params:
        **code("scripts/measure_drift.py"),
        settings=SPECTRA.model_dump_json(include={"shares", "windows", "nulls", "draws"}),
        names=lambda wildcards: PAIRS[wildcards.pair],
    shell:
        reuse(
            "python scripts/measure_drift.py --settings {params.settings:q}"
            + FIND_CHECKPOINTS
            + " --before {params.names[0]} --after {params.names[1]} --pair {wildcards.pair}"
            " --seed {wildcards.seed} --device {resources.device}"
            " --drift {output.drift} --nulls {output.nulls}"
            " --value-changes {output.value_changes}",
            inputs=COMPARED,
        )


rule measure_updates:
    """The path's update up to a start of RL, and RL's update from there."""
    input:
        unpack(
            lambda wildcards: decomposed(
                wildcards, STORY.base, wildcards.start, STORY.rl.results[wildcards.start]
            )
        ),
    output:
        SEED + "/updates/{start}.parquet",
    log:
        LOGS + "/seed-{seed}/measure_updates/{start}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/measure_updates/{start}.tsv"
    wildcard_constraints:
        start=matching(STUDY.update_starts),
    resources:
        **needs("measure_updates", mem_mb=4000, runtime=60, gpus=GPU),
        folder=filled(SEED),
    params:
        **code("scripts/measure_updates.py"),
        settings=SPECTRA.model_dump_json(include={"shares", "draws"}),
        base=STORY.base,
        result=lambda wildcards: STORY.rl.results[wildcards.start],
    shell:
        reuse(
            "python scripts/measure_updates.py --settings {params.settings:q}"
            + FIND_CHECKPOINTS
            + " --base {params.base} --start {wildcards.start} --result {params.result}"
            " --seed {wildcards.seed} --device {resources.device} --out {output}",
            inputs=COMPARED,
        )
