"""Lets Snakemake sleep between jobs on one machine."""


onstart:
    # To keep to --max-jobs-per-timespan, Snakemake 9.27 looks through all waiting jobs again one
    # second after each look, and once more for each job that ends: a loop for every job so far,
    # which in a study of hundreds of jobs took most of a core. Jobs on one machine have no such
    # limit: cores bound them.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
