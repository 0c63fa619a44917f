"""Tidy tables over all seeds and checkpoints, and the differences that claims rest on."""

DECOMPOSED = STUDY.decomposed


def of_checkpoints(folder, table, ids):
    """One kind of table of these checkpoints and all seeds."""
    return expand(f"{SEED}/{folder}/{{id}}/{table}.parquet", seed=STUDY.seeds, id=ids)


def of_runs(table):
    """Tables of this name, of every training run that leaves one."""
    runs = [run for stage in STUDY.graph if table in stage.record.tables for run in stage.runs]
    return expand(SEED + "/training/{run}/{table}.parquet", seed=STUDY.seeds, run=runs, table=table)


# Every joined table, and the tables that it is joined from.
COLLECTED = {
    "accuracy": of_checkpoints("evaluation", "accuracy", STUDY.checkpoints),
    "objectives": of_checkpoints("evaluation", "objectives", STUDY.checkpoints),
    "anchors": expand(SEED + "/selection/anchor.json", seed=STUDY.seeds),
    "losses": of_runs("losses"),
    "metrics": of_runs("metrics"),
    "advantages": of_runs("advantages"),
    "spectrum": of_checkpoints("spectra", "spectrum", DECOMPOSED),
    "matrices": of_checkpoints("spectra", "matrices", DECOMPOSED),
    "drift": expand(SEED + "/drift/{pair}/drift.parquet", seed=STUDY.seeds, pair=STUDY.pairs),
    "nulls": expand(SEED + "/drift/{pair}/nulls.parquet", seed=STUDY.seeds, pair=STUDY.pairs),
    "value_changes": expand(
        SEED + "/drift/{pair}/value_changes.parquet", seed=STUDY.seeds, pair=STUDY.pairs
    ),
    "updates": expand(
        SEED + "/updates/{start}.parquet", seed=STUDY.seeds, start=STUDY.update_starts
    ),
    **{
        f"rank_{table}": expand(
            SEED + "/ranks/{name}/{table}.parquet",
            seed=STUDY.seeds,
            name=STUDY.rank_choices,
            table=table,
        )
        for table in ("searches", "shares", "episodes")
    },
    **{
        f"probe_{name}": of_checkpoints("probes", name, plan.checkpoints)
        for name, plan in STUDY.probed.items()
    },
}
COLLECTED = {table: parts for table, parts in COLLECTED.items() if parts}

for table, parts in COLLECTED.items():

    rule:
        name:
            f"collect_{table}"
        input:
            parts,
        output:
            f"{TABLES}/{table}.parquet",
        log:
            f"{LOGS}/collect_{table}.log",
        benchmark:
            f"{BENCHMARKS}/collect_{table}.tsv"
        localrule: True
        resources:
            **needs(),
        params:
            **code("scripts/collect.py"),
        shell:
            logged("python scripts/collect.py {input} --out {output}")


HEARD = "metrics" in COLLECTED  # of runs of RL, which log their rewards


rule measure_signals:
    """Whether each run of RL had a signal to learn from."""
    input:
        TABLES + "/metrics.parquet",
    output:
        TABLES + "/signals.parquet",
    log:
        LOGS + "/measure_signals.log",
    benchmark:
        BENCHMARKS + "/measure_signals.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/measure_signals.py"),
    shell:
        logged("python scripts/measure_signals.py --metrics {input} --out {output}")


# The repair that is compared with interpolation at equal cost, and the interpolations.
MAIN = STUDY.repairs.get("last-with-anchor")
MERGING = "directions-top0.2"
INTERPOLATIONS = {
    one.weight: one.id
    for one in (MAIN.interventions if MAIN else ())
    if one.id == f"interpolate-weight{one.weight}"
}
AT_EQUAL_COST = bool(INTERPOLATIONS) and MERGING in [one.id for one in MAIN.interventions]
CONTRASTED = dict.fromkeys(
    [
        *STORY.path,
        *(
            part.results[start]
            for part in STORY.ends
            for start in STORY.named_starts.values()
            if start in part.results
        ),
    ]
)


rule measure_contrasts:
    """The differences that claims are about and no other table has, paired on the same problems."""
    input:
        episodes=[
            *of_checkpoints("evaluation", "episodes", CONTRASTED),
            *expand(
                SEED + "/recovery/last-with-anchor/{intervention}/episodes.parquet",
                seed=STUDY.seeds,
                intervention=[MERGING, *INTERPOLATIONS.values()] if AT_EQUAL_COST else [],
            ),
        ],
        anchors=TABLES + "/anchors.parquet",
    output:
        TABLES + "/contrasts.parquet",
    log:
        LOGS + "/measure_contrasts.log",
    benchmark:
        BENCHMARKS + "/measure_contrasts.tsv"
    resources:
        **needs(mem_mb=4000, runtime=20),
    params:
        **code("scripts/measure_contrasts.py"),
        story=ROLES.model_dump_json(),
        equal_cost=(
            f"--intervention {MERGING} --path "
            + " ".join(f"{weight}={id}" for weight, id in INTERPOLATIONS.items())
            if AT_EQUAL_COST
            else ""
        ),
    shell:
        logged(
            "python scripts/measure_contrasts.py --episodes {input.episodes}"
            " --anchors {input.anchors} --story {params.story:q} {params.equal_cost}"
            " --out {output}"
        )


MEASURED = {
    "comparisons": bool(STUDY.compared),
    "recovery": bool(STUDY.repairs),
    "recovery_effect": bool(STUDY.repairs),
    "recovery_solved": bool(STUDY.repairs),
    "contrasts": True,
    "signals": HEARD,
}


rule tables:
    input:
        expand(
            TABLES + "/{table}.parquet",
            table=[*COLLECTED, *(table for table, wanted in MEASURED.items() if wanted)],
        ),
