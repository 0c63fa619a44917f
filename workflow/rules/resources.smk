"""What jobs ask for: memory, time and GPUs, and on a cluster what its site wants (slurm/site.yaml).

All of it is `resources`, so that changing it makes nothing run again.
"""

from shlex import quote

from svdrift.live import TrackingSettings
from svdrift.site import read_site

try:
    SITE = read_site(Path("slurm/site.yaml"))
except UserError as error:
    sys.exit(f"error: {error}")

# Before every shell command: what the site needs there. `trap` lets bash outlive a SIGTERM and the
# end of the terminal, so that the command can save a snapshot; what bash starts gets the signal
# itself.
shell.prefix(
    f"set -euo pipefail; trap : TERM HUP; {SITE.setup}\nexport SVDRIFT_WITHIN={quote(SITE.within)}; "
)

GPU = min(1, STUDY.compute.gpus)  # of a job that is one process
TRAINING = {  # of a job that trains
    "gpus": STUDY.compute.gpus,
    "snapshots": True,
    "nodes": STUDY.compute.nodes,
    "compute": STUDY.compute.model_dump_json(exclude={"resources"}),
}


def tracking(run):
    """Where the metrics of a training job go while it runs, as JSON; `run` is its name."""
    return lambda wildcards: TrackingSettings(
        tool=STUDY.tracking,
        project=STUDY.study,
        run=run.format(**dict(wildcards.items())),
        folder=Path(RESULTS) / "tracking",
    ).model_dump_json()


ACCELERATE = "python scripts/launch.py --compute {resources.compute:q} -- "


def needs(rule=None, mem_mb=2000, runtime=10, gpus=0, snapshots=False, **others):
    """Resources of a job: more memory and time at each further attempt, and the site's own.

    Args:
        rule: name of the rule, if a study may say otherwise (`compute.resources`).
        mem_mb, runtime: megabytes and minutes of the first attempt.
        snapshots: the job keeps one on SIGTERM, so it gets that before its time is over.
        others: further resources, as they are.
    """
    wanted = STUDY.compute.resources.get(rule)
    if wanted is not None:
        mem_mb, runtime = wanted.mem_mb or mem_mb, wanted.runtime or runtime
    return {
        "mem_mb": lambda wildcards, attempt: mem_mb * attempt,
        "runtime": lambda wildcards, attempt: runtime * attempt,
        "attempt": lambda wildcards, attempt: attempt,
        "device": STUDY.compute.device,
        **SITE.resources(gpus, warned=snapshots),
        **others,
    }
