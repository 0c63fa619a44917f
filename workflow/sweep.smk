"""A sweep: the whole workflow once for each point, all in one graph, and one table and figure.

snakemake --snakefile workflow/sweep.smk --cores all --configfile experiments/sweeps/NAME.yaml
"""

import json
import re
import sys

from snakemake.utils import min_version

from svdrift.errors import UserError
from svdrift.study.settings import read_settings
from svdrift.sweeps import read_sweep
from svdrift.tracking import code_digest, software

min_version("9.27")


include: "rules/reading.smk"


configfile: "config.yaml"


report: "report/sweep_overview.rst"


include: "rules/running.smk"


try:
    SWEEP = read_sweep(config)
    # The figure takes the roles of stages from the first point; all points have the same.
    STORY = read_settings(SWEEP.points[0].config).resolved_story.model_dump_json()
except UserError as error:
    sys.exit(f"error: {error}")

SWEEP_RESULTS = f"results/{SWEEP.name}"
POINTS = {re.sub(r"\W", "_", point.study.split("/")[1]): point for point in SWEEP.points}

for name, point in POINTS.items():
    prefix = f"{name}_"

    module:
        name: name
        snakefile:
            "../Snakefile"
        config:
            point.config

    use rule * from name as prefix*


rule collect_sweep:
    """The accuracies at all points, with the swept settings as columns."""
    input:
        [f"results/{point.study}/tables/accuracy.parquet" for point in SWEEP.points],
    output:
        parquet=SWEEP_RESULTS + "/tables/sweep.parquet",
        csv=SWEEP_RESULTS + "/tables/sweep.csv",
    log:
        SWEEP_RESULTS + "/logs/collect_sweep.log",
    benchmark:
        SWEEP_RESULTS + "/benchmarks/collect_sweep.tsv"
    localrule: True
    params:
        points=json.dumps([point.values for point in SWEEP.points]),
        code=code_digest("scripts/collect_sweep.py"),
        software=software("scripts/collect_sweep.py"),
    shell:
        "python scripts/collect_sweep.py --points {params.points:q} --accuracy {input}"
        " --out {output.parquet} 2>&1 | tee {log}"


rule plot_sweep:
    input:
        SWEEP_RESULTS + "/tables/sweep.parquet",
    output:
        png=report(
            SWEEP_RESULTS + "/figures/sweep.png",
            caption="report/sweep.rst",
            category="Sweep",
            labels={"figure": "sweep"},
        ),
        pdf=SWEEP_RESULTS + "/figures/sweep.pdf",
        csv=SWEEP_RESULTS + "/figures/sweep.csv",
    log:
        SWEEP_RESULTS + "/logs/plot_sweep.log",
    benchmark:
        SWEEP_RESULTS + "/benchmarks/plot_sweep.tsv"
    localrule: True
    params:
        code=code_digest("scripts/plot.py", "svdrift/figures/sweep.py"),
        software=software("scripts/plot.py", "svdrift/figures/sweep.py"),
        story=STORY,
    shell:
        "python scripts/plot.py sweep sweep={input} --story {params.story:q} --out {output.png}"
        " 2>&1 | tee {log}"


rule sweep:
    default_target: True
    input:
        rules.collect_sweep.output,
        rules.plot_sweep.output,
        # Points are compared by their stories.
        [getattr(rules, f"{name}_configuration").output for name in POINTS],


rule collect_claims:
    """The statements of all points side by side: do they keep their sign?"""
    input:
        [f"results/{point.study}/tables/findings.csv" for point in SWEEP.points],
    output:
        csv=SWEEP_RESULTS + "/tables/claims.csv",
        page=SWEEP_RESULTS + "/tables/claims.md",
    log:
        SWEEP_RESULTS + "/logs/collect_claims.log",
    benchmark:
        SWEEP_RESULTS + "/benchmarks/collect_claims.tsv"
    localrule: True
    params:
        points=json.dumps([point.values for point in SWEEP.points]),
        sweep=SWEEP.name,
        code=code_digest("scripts/collect_claims.py"),
        software=software("scripts/collect_claims.py"),
    shell:
        "python scripts/collect_claims.py --points {params.points:q} --findings {input}"
        " --sweep {params.sweep:q} --out {output.csv} 2>&1 | tee {log}"


rule claims:
    input:
        rules.collect_claims.output,


rule points:
    """Everything else that a study has, at every point: its own tables and figures."""
    input:
        [getattr(rules, f"{name}_all").input for name in POINTS],


onsuccess:
    print(f"\nFigure: {SWEEP_RESULTS}/figures/sweep.png\nTable:  {SWEEP_RESULTS}/tables/sweep.csv")
