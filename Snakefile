from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/running.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/budget.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/rl.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/spectra.smk"
include: "workflow/rules/recovery.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/findings.smk"


rule all:
    default_target: True
    input:
        rules.data.input,
        rules.spectra.input,
        rules.recovery.input,
        rules.figures.input,
        rules.findings.input,


onsuccess:
    print(where_to_look())
