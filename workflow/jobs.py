"""Print every job of a study as JSON, a line each, jobs after those that they depend on.

Takes the options of Snakemake, runs nothing and locks nothing. `svdrift status` reads it.
"""

import json
import os
import sys

from snakemake import cli
from snakemake.dag import DAG

REASONS = {  # attributes of Snakemake's `Reason` -> why, in our words; the first that holds
    "missing_output": "not made yet",
    "incomplete_output": "was interrupted",
    "updated_input": "an input is newer",
    "input_changed": "other inputs",
    "code_changed": "its rule changed",
    "params_changed": "its settings or code changed",
}
LATER = "follows an earlier job"


def why(reason):
    """Why a job would run."""
    return next((text for name, text in REASONS.items() if getattr(reason, name)), LATER)


async def jobs(dag, detailed=False):
    """What Snakemake prints in place of its summary."""
    for level in dag.toposorted():
        for job in sorted(level, key=str):
            if not job.output:  # a target of others, such as `all`
                continue
            waits = bool(dag.reason(job))
            yield json.dumps(
                {
                    "rule": job.rule.name,
                    "runs": waits,
                    "why": why(dag.reason(job)) if waits else "",
                    "log": str(job.log[0]) if job.log else "",
                    "benchmark": str(job.benchmark) if job.benchmark else "",
                    "outputs": [str(path) for path in job.output],
                    "command": (job.shellcmd or "") if waits else "",
                }
            )


if __name__ == "__main__":
    DAG.summary = jobs
    # As `python -m snakemake` does: the Snakefile imports from where the workflow is.
    sys.path.insert(0, os.getcwd())
    cli.main(["--summary", "--nolock", *sys.argv[1:]])
