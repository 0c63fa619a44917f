"""The command that starts a training job: `accelerate launch`, on one node or on several by Slurm.

Importing this module is quick, because the Snakefile does it on every start.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from svdrift import forkserver
from svdrift.compute import ComputeSettings
from svdrift.errors import UserError

FIRST_PORT, PORTS = 20000, 10000  # below the ports that systems hand out by themselves


def require_software(compute: ComputeSettings) -> None:
    """Refuse what needs a package that the environment does not bring.

    Raises:
        UserError: DeepSpeed is asked for and not installed.
    """
    if compute.sharding.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            f"compute.sharding: '{compute.sharding}' needs the package deepspeed, which is not "
            "installed (allowed without it: 'none', 'fsdp2')"
        )


def on_this_node(
    compute: ComputeSettings,
    config: Path,
    script: Sequence[str],
    environment: Mapping[str, str],
    visible_gpus: int,
) -> list[str]:
    """The command that starts a node's processes of a training job.

    Args:
        compute: what the job runs on.
        config: Accelerate's configuration file that fits it.
        script: the training script and its arguments.
        environment: variables of the job. With several nodes Slurm's say which node this is, and
            where the first one is to be met.
        visible_gpus: GPUs that this node gives to the job.

    Raises:
        UserError: there are fewer GPUs than processes, or several nodes and no Slurm.
    """
    each = compute.processes // compute.nodes
    if compute.device == "cuda" and visible_gpus < each:
        shown = environment.get("CUDA_VISIBLE_DEVICES")
        raise UserError(
            f"compute.gpus: {each} processes on this node need a GPU each, and {visible_gpus} can "
            f"be used (CUDA_VISIBLE_DEVICES is {'not set' if shown is None else repr(shown)})"
        )
    command = ["accelerate", "launch", "--config_file", str(config)]
    command += ["--num_processes", str(compute.processes)]
    # By itself accelerate gives each process all that the job has.
    threads = int(environment.get("OMP_NUM_THREADS", compute.threads))
    command += ["--num_cpu_threads_per_process", str(max(1, threads // each))]
    if compute.processes == 1:
        command.append("--quiet")  # of accelerate's own traceback after the script's
        if forkserver.VARIABLE in environment:
            command += ["--no_python", "python", "-m", "svdrift.forkserver", "call", "python"]
    if compute.nodes > 1:
        port = FIRST_PORT + int(_slurm("SLURM_JOB_ID", compute, environment)) % PORTS
        command += ["--num_machines", str(compute.nodes)]
        command += ["--machine_rank", _slurm("SLURM_NODEID", compute, environment)]
        command += [
            "--main_process_ip",
            first_host(_slurm("SLURM_JOB_NODELIST", compute, environment)),
        ]
        command += ["--main_process_port", str(port)]  # jobs that share a node have others
    return [*command, *script]


def on_every_node(
    compute: ComputeSettings, program: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """The command that runs `program` once on each node of the Slurm job.

    Raises:
        UserError: this is no Slurm job, or one of too few nodes.
    """
    given = int(_slurm("SLURM_JOB_NUM_NODES", compute, environment))
    if given < compute.nodes:
        raise UserError(f"compute.nodes: {compute.nodes} nodes, and the Slurm job has {given}")
    return [
        "srun",
        f"--nodes={compute.nodes}",
        f"--ntasks={compute.nodes}",
        "--ntasks-per-node=1",
        "--overlap",  # the step that this runs in holds the job's resources
        "--kill-on-bad-exit=1",
        sys.executable,
        *program,
    ]


def first_host(nodelist: str) -> str:
    """First host of a list as Slurm writes it: `a[03-05,9],b` begins with `a03`."""
    match = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodelist)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", match[0]) if match else nodelist


def _slurm(name: str, compute: ComputeSettings, environment: Mapping[str, str]) -> str:
    if name not in environment:
        raise UserError(
            f"compute.nodes: {compute.nodes} nodes need a Slurm job ({name} is not set)"
        )
    return environment[name]
