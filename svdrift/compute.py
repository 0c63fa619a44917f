"""What jobs run on."""

from __future__ import annotations

import argparse
from typing import Literal, Self

from pydantic import Field, model_validator

from svdrift.errors import UserError
from svdrift.section import Section


class JobSettings(Section):
    """What the jobs of a rule ask for at their first attempt; the second gets twice as much."""

    mem_mb: int | None = Field(None, gt=0, description="Main memory in megabytes.")
    runtime: int | None = Field(None, gt=0, description="Minutes.")


class ComputeSettings(Section):
    """What a training job runs on. Never part of a result: changing it reruns nothing."""

    gpus: int = Field(
        0,
        ge=0,
        le=65536,
        description="GPUs per training job, over all its nodes; 0 for the CPU. Other jobs that "
        "compute take one of them.",
    )
    processes: int = Field(
        1,
        gt=0,
        le=65536,
        description="Processes per training job, over all its nodes; with GPUs, one for each.",
    )
    nodes: int = Field(
        1, gt=0, le=65536, description="Machines per training job; more than one needs Slurm."
    )
    sharding: Literal["none", "fsdp2", "zero2", "zero3"] = Field(
        "none",
        description="What processes share besides the batch. `fsdp2`: weights, gradients and "
        "moments lie in pieces. `zero2`, `zero3`: so does DeepSpeed, with moments, and for `zero3` "
        "weights, in the machine's memory. Each method says which of them it supports "
        "(docs/accelerate.md).",
    )
    threads: int = Field(
        1,
        gt=0,
        le=4096,
        description="CPU threads of a training job on each of its nodes, shared by the processes "
        "there. Another number gives the same up to rounding.",
    )
    use_gpus: bool = Field(
        True,
        description="False: jobs ask for their GPUs and compute on the CPU, to try out a cluster.",
    )
    resources: dict[str, JobSettings] = Field(
        default_factory=dict,
        description="By rule: {mem_mb, runtime} of its jobs at the first attempt, megabytes of "
        "main memory and minutes; what is left out stays as the rule has it. Each further attempt "
        "gets as much again.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gpus and self.processes != self.gpus:
            raise ValueError(
                f"processes: {self.processes} processes with {self.gpus} GPUs; needs one for each"
            )
        if self.processes % self.nodes:
            raise ValueError(f"nodes: {self.nodes} does not divide processes {self.processes}")
        if self.sharding != "none" and self.processes == 1:
            raise ValueError(
                f"sharding: '{self.sharding}' with one process, which has nobody to share with "
                "(allowed: 'none', or more processes)"
            )
        if self.sharding.startswith("zero") and self.device != "cuda":
            raise ValueError(f"sharding: '{self.sharding}' needs GPUs (allowed: 'none', 'fsdp2')")
        return self

    @property
    def device(self) -> Literal["cuda", "cpu"]:
        """Where jobs that may use a GPU compute."""
        return "cuda" if self.gpus and self.use_gpus else "cpu"

    @property
    def accelerate(self) -> str:
        """Name of the file in `workflow/accelerate/` that a training job is launched with."""
        kind = ("gpu" if self.device == "cuda" else "cpu") + ("s" if self.processes > 1 else "")
        return kind if self.sharding == "none" else f"{kind}-{self.sharding}"


def device_argument(
    parser: argparse.ArgumentParser, use: str = "where to compute, such as cuda (default: cpu)"
) -> None:
    """Add `--device`, a device that PyTorch can use here.

    Raises (when parsing): UserError if it cannot.
    """
    parser.add_argument("--device", type=usable_device, default="cpu", help=use)


def usable_device(text: str) -> str:
    """`text`, if PyTorch can compute there.

    Raises: UserError if it cannot, with the reason.
    """
    import torch  # late, since the Snakefile imports this module

    try:
        device = torch.device(text)
        if device.type != "cuda":
            torch.zeros(1, device=device).sum().item()
        # Not by computing there: each of several processes would, on the first GPU.
        elif torch.version.cuda is None and torch.version.hip is None:
            raise RuntimeError("this build of PyTorch is for CPUs alone")
        elif torch.cuda.device_count() <= (device.index or 0):
            raise RuntimeError(f"PyTorch sees {torch.cuda.device_count()} GPUs")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--device: {text!r} cannot be used here: {reason}") from None
    return text
