rule budget:
    """Print what the study would cost in GPU hours and disk. Nothing of it is run."""
    localrule: True
    resources:
        **needs(),
    params:
        settings=lambda _: STUDY.model_dump_json(),
    shell:
        "python scripts/budget.py --settings {params.settings:q}"
