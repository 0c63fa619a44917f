"""What the process that runs the workflow does for itself."""

import tempfile
from pathlib import Path

from svdrift import forkserver
from svdrift.running import hold

HELD = []  # open as long as this process lives


onstart:
    HELD.append(hold(Path(".snakemake")))
    # To keep to --max-jobs-per-timespan, Snakemake 9.27 looks through all waiting jobs again one
    # second after each look, and once more for each job that ends: a loop for every job so far,
    # which in a study of hundreds of jobs took most of a core. Jobs on one machine have no such
    # limit: cores bound them.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
        # Of fewer jobs the imports that it saves are not worth its own.
        if sum(not job.is_norun for job in workflow.dag.needrun_jobs()) >= 8:
            folder = Path(tempfile.mkdtemp(prefix="svdrift-"))
            HELD.append(forkserver.start(folder))
