import json

NAMED_STARTS = STUDY.named_starts
CONTINUED = [
    step for step in NAMED_STARTS.values() if step in STUDY.control_starts.get("continued", ())
]
MAIN = REPAIRS.get("last-with-anchor")
# The repair that is compared with interpolation at equal cost, and the interpolations.
MERGING = "directions-top0.2"
INTERPOLATIONS = {
    one.weight: one.id
    for one in (MAIN.interventions if MAIN else ())
    if one.id == f"interpolate-weight{one.weight}"
}
AT_EQUAL_COST = bool(INTERPOLATIONS) and MERGING in [one.id for one in MAIN.interventions]


def contrast_options():
    """What is to be measured, as the script takes it."""
    options = [f"--last {SFT_CHECKPOINTS[-1]}"]
    if NAMED_STARTS:
        moderate = STUDY.moderate_start
        options.append(f"--method {STUDY.rl.method} --starts {moderate}")
        others = [str(step) for step in CONTINUED if step != moderate]
        if moderate in CONTINUED and others:
            options.append(f"--moderate {moderate} --others {' '.join(others)}")
    if AT_EQUAL_COST:
        path = " ".join(f"{weight}={id}" for weight, id in INTERPOLATIONS.items())
        options.append(f"--intervention {MERGING} --path {path}")
    return " ".join(options)


rule measure_contrasts:
    """The differences that claims are about and no other table has, paired on the same hands."""
    input:
        episodes=[
            *expand(
                SEED + "/evaluation/{checkpoint}/episodes.parquet",
                seed=STUDY.seeds,
                checkpoint=[
                    *SFT_CHECKPOINTS,
                    *map(STUDY.rl_result, NAMED_STARTS.values()),
                    *(f"continued-from-{step}" for step in CONTINUED),
                ],
            ),
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
        options=contrast_options(),
    shell:
        logged(
            "python scripts/measure_contrasts.py --episodes {input.episodes} --anchors {input.anchors}"
            " {params.options} --out {output}"
        )


# The tables that findings are computed from, by the option that takes them.
EVIDENCE = {
    "contrasts": "contrasts",
    "accuracy": "accuracy",
    **({"rl-effect": "rl_effect"} if NAMED_STARTS else {}),
    **({"drift": "drift"} if PAIRS else {}),
    **({"recovery-effect": "recovery_effect"} if REPAIRS else {}),
}


rule summarise_findings:
    """Statements with estimates, intervals and verdicts, from tables alone."""
    input:
        expand(TABLES + "/{table}.parquet", table=EVIDENCE.values()),
        PUBLISHED_CURVE,
        PUBLISHED_STAGES,
    output:
        findings=TABLES + "/findings.csv",
        page=report(
            RESULTS + "/findings.html",
            caption="../report/findings.rst",
            category="1. Findings",
            labels={"table": "findings with verdicts"},
        ),
    log:
        LOGS + "/summarise_findings.log",
    benchmark:
        BENCHMARKS + "/summarise_findings.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/summarise_findings.py"),
        tables=" ".join(
            f"--{option} {TABLES}/{table}.parquet" for option, table in EVIDENCE.items()
        ),
        starts=arguments(NAMED_STARTS),
        study=STUDY.study,
    shell:
        logged(
            "python scripts/summarise_findings.py {params.tables} --starts {params.starts}"
            " --study {params.study} --findings {output.findings} --page {output.page}"
        )


rule write_report:
    """The findings, then every figure with its caption, as Markdown beside PNGs."""
    input:
        findings=TABLES + "/findings.csv",
        tables=expand(TABLES + "/{table}.parquet", table=EVIDENCE.values()),
        figures=expand(FIGURES + "/{figure}.png", figure=PLOTS),
        captions=expand("workflow/report/{figure}.rst", figure=PLOTS),
    output:
        directory(RESULTS + "/report"),
    log:
        LOGS + "/write_report.log",
    benchmark:
        BENCHMARKS + "/write_report.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/write_report.py"),
        chapters=json.dumps({figure: chapter for figure, (chapter, *_) in PLOTS.items()}),
        study=STUDY.study,
        made_of=config["made_of"],
    shell:
        logged(
            "python scripts/write_report.py --findings {input.findings} --tables {input.tables}"
            " --figures {input.figures}"
            " --captions {input.captions} --chapters {params.chapters:q} --study {params.study}"
            " --made-of {params.made_of:q} --out {output}"
        )


rule findings:
    input:
        rules.summarise_findings.output,
        rules.write_report.output,
