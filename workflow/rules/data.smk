SPLITS = [
    "demonstrations",
    "practice",
    "demonstrated",
    "id_selection",
    "ood_selection",
    "id_test",
    "ood_test",
]


rule solve_hands:
    """Solve every multiset of card values under the rules of the study."""
    output:
        RESULTS + "/solutions.parquet",
    log:
        LOGS + "/solve_hands.log",
    benchmark:
        BENCHMARKS + "/solve_hands.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=as_json(STUDY.task, without=["hands"]),
        code=code_digest("scripts/solve_hands.py"),
    shell:
        "python scripts/solve_hands.py --settings {params.settings:q} --out {output}"
        " 2>&1 | tee {log}"


rule make_hands:
    """Deal one seed's hands; the task checks its own verifier and that the splits are disjoint."""
    input:
        own=list(STUDY.task.hands.files.values()),
    output:
        hands=expand(SEED + "/hands/{split}.parquet", split=SPLITS, allow_missing=True),
        summary=report(
            SEED + "/hands/summary.csv",
            caption="../report/hands.rst",
            category="2. Hands",
            labels={"table": "splits", "seed": "{seed}"},
        ),
    log:
        LOGS + "/seed-{seed}/make_hands.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/make_hands.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=as_json(STUDY.task),
        code=code_digest("scripts/make_hands.py"),
        folder=subpath(output.summary, parent=True),
    shell:
        "python scripts/make_hands.py --settings {params.settings:q} --seed {wildcards.seed}"
        " --out {params.folder} 2>&1 | tee {log}"


rule data:
    input:
        rules.solve_hands.output,
        expand(SEED + "/hands/summary.csv", seed=STUDY.seeds),
