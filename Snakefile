import os

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/reading.smk"


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/running.smk"
include: "workflow/rules/study.smk"  # names that all later files use
include: "workflow/rules/resources.smk"  # and what their jobs ask for
include: "workflow/rules/budget.smk"
include: "workflow/rules/task.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/recovery.smk"
include: "workflow/rules/ranks.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.configuration.output,
        rules.problems.input,
        rules.models.input,
        rules.tables.input,
        rules.figures.input,
        rules.findings.input,


onsuccess:
    if "MAKELEVEL" not in os.environ:  # `make study` says it also where nothing was left to run
        print(f"\nReport:   {RESULTS}/report.html\nFigures:  {FIGURES}/\nTables:   {TABLES}/")
