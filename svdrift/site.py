"""What the site of a cluster wants of jobs: the settings in `slurm/site.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from svdrift import yaml_files
from svdrift.errors import UserError, explain
from svdrift.section import Section

# How long before the end of its time a job that keeps snapshots is warned. Slurm may be up to a
# minute earlier.
WARNING_S = 120


class Kind(Section):
    """What a kind of job asks for, in the words of sbatch. What is None is left to Slurm."""

    partition: str | None = None
    account: str | None = None
    constraint: str | None = None
    qos: str | None = None
    extra: str | None = None  # further options of sbatch


class Site(Section):
    """The settings of a site.

    Attributes:
        gpu, cpu: what jobs with GPUs ask for, and all others.
        gres: generic resource by which GPUs are asked for (`--gres`), such as `gpu` or
            `gpu:a100`; None asks by `--gpus`.
        setup: shell lines before each job.
        within: program, with options, in which each job's own runs, such as a container's.
    """

    gpu: Kind = Kind()
    cpu: Kind = Kind()
    gres: str | None = None
    setup: str = ""
    within: str = ""

    def resources(self, gpus: int, *, warned: bool = False) -> dict[str, int | str]:
        """Resources of a job with `gpus` GPUs, by the names of Snakemake's executor for Slurm.

        Args:
            gpus: 0 for a job on CPUs.
            warned: whether the job gets SIGTERM before its time is over.
        """
        kind = self.gpu if gpus else self.cpu
        signal = f"--signal=TERM@{WARNING_S}" if warned else None
        wanted = {
            "gpu": gpus if gpus and not self.gres else None,
            "gres": f"{self.gres}:{gpus}" if gpus and self.gres else None,
            "slurm_partition": kind.partition,
            "slurm_account": kind.account,
            "constraint": kind.constraint,
            "qos": kind.qos,
            "slurm_extra": " ".join(filter(None, [kind.extra, signal])) or None,
        }
        return {name: value for name, value in wanted.items() if value is not None}


def read_site(path: Path) -> Site:
    """Read the settings of a site.

    Raises: UserError, in one line, if the file is missing, not YAML, or has a wrong key or value.
    """
    given = yaml_files.read(path)
    try:
        return Site.model_validate({} if given is None else given)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, Site)}") from None
