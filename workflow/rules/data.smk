from svdrift.tasks.general_points.splits import DEALT_BEFORE, SIZE_KEYS, SPLITS


rule solve_hands:
    """Solve every multiset of card values under the rules of the study."""
    output:
        RESULTS + "/solutions.parquet",
    log:
        LOGS + "/solve_hands.log",
    benchmark:
        BENCHMARKS + "/solve_hands.tsv"
    resources:
        **needs(),
    params:
        **code("scripts/solve_hands.py"),
        values=STUDY.task.skills.values,
        target=STUDY.task.target,
    shell:
        logged(
            "python scripts/solve_hands.py --values {params.values} --target {params.target}"
            " --out {output}"
        )


rule make_hands:
    """Deal one split of one seed's hands."""
    input:
        own=list(STUDY.task.hands.files.values()),
        training=lambda wildcards: [
            f"{SEED}/hands/{split}.parquet" for split in DEALT_BEFORE[wildcards.split]
        ],
    output:
        hands=SEED + "/hands/{split}.parquet",
        provenance=SEED + "/hands/{split}.provenance.json",
    log:
        LOGS + "/seed-{seed}/make_hands/{split}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/make_hands/{split}.tsv"
    wildcard_constraints:
        split="|".join(SPLITS),
    resources:
        **needs(),
    params:
        **code("scripts/make_hands.py"),
        settings=lambda wildcards: as_json(STUDY.task.deal(wildcards.split)),
        asked=lambda wildcards: getattr(STUDY.task.hands, SIZE_KEYS[wildcards.split]),
    shell:
        reuse(
            "python scripts/make_hands.py --settings {params.settings:q} --split {wildcards.split}"
            " --count {params.asked} --training {input.training} --seed {wildcards.seed}"
            " --out {output.hands}"
        )


rule check_hands:
    """Check that the splits are disjoint, and the task's own verifier on every hand."""
    input:
        expand(SEED + "/hands/{split}.parquet", split=SPLITS, allow_missing=True),
    output:
        report(
            SEED + "/hands/summary.csv",
            caption="../report/hands.rst",
            category="2. Hands",
            labels={"table": "splits", "seed": "{seed}"},
        ),
    log:
        LOGS + "/seed-{seed}/check_hands.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/check_hands.tsv"
    resources:
        **needs(),
    params:
        **code("scripts/check_hands.py"),
        settings=as_json(STUDY.task.game(*SPLITS)),
    shell:
        logged(
            "python scripts/check_hands.py --settings {params.settings:q} --hands {input}"
            " --out {output}"
        )


rule data:
    input:
        rules.solve_hands.output,
        expand(SEED + "/hands/summary.csv", seed=STUDY.seeds),
