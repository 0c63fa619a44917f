"""How training jobs are started: the command, the configuration files, and two nodes for real."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType
from pydantic import ValidationError

from svdrift.compute import ComputeSettings
from svdrift.errors import UserError
from svdrift.study.settings import read_settings
from svdrift.training import launch
from tests.study.studies import study

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "workflow" / "accelerate"
SLURM = {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "n[07-08]", "SLURM_JOB_NUM_NODES": "2"}


def valid():
    """Every kind of settings that is allowed, by the name of its configuration."""
    kinds = {}
    for gpus, processes, sharding in product(
        (0, 1, 2), (1, 2), ("none", "fsdp2", "zero2", "zero3")
    ):
        try:
            compute = ComputeSettings(gpus=gpus, processes=processes, sharding=sharding)
        except ValidationError:
            continue
        kinds[compute.accelerate] = compute
    return kinds


def test_each_kind_has_a_configuration_and_no_more():
    assert {file.stem for file in CONFIGS.iterdir()} == set(valid())


@pytest.mark.parametrize("name", sorted(valid()))
def test_a_configuration_is_read_and_says_what_is_asked(name):
    compute = valid()[name]
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert config.use_cpu == (compute.gpus == 0)
    assert config.mixed_precision == ("bf16" if compute.gpus else "no")
    kind = {
        "none": DistributedType.MULTI_GPU if compute.processes > 1 else DistributedType.NO,
        "fsdp2": DistributedType.FSDP,
    }
    assert config.distributed_type == kind.get(compute.sharding, DistributedType.DEEPSPEED)
    if compute.sharding == "fsdp2":
        assert config.fsdp_config["fsdp_version"] == 2
    if compute.sharding.startswith("zero"):
        assert config.deepspeed_config["zero_stage"] == int(compute.sharding[-1])
        assert config.deepspeed_config["offload_optimizer_device"] == "cpu"
    # What Accelerate's own command line makes of it.
    command = launch.on_this_node(
        compute, CONFIGS / f"{name}.yaml", ["train.py", "--seed=1"], {}, 2
    )
    assert command[:2] == ["accelerate", "launch"]
    read = launch_command_parser().parse_args(command[2:])
    assert (read.num_processes, read.num_machines) == (compute.processes, None)
    assert (read.training_script, read.training_script_args) == ("train.py", ["--seed=1"])


def test_several_nodes_meet_at_the_first_one():
    compute = ComputeSettings(gpus=8, processes=8, nodes=2, sharding="fsdp2")
    environment = SLURM | {"SLURM_NODEID": "1"}
    command = launch.on_this_node(compute, Path("x.yaml"), ["train.py"], environment, 4)
    read = launch_command_parser().parse_args(command[2:])
    assert (read.num_processes, read.num_machines, read.machine_rank) == (8, 2, 1)
    assert (read.main_process_ip, read.main_process_port) == ("n07", 24567)


@pytest.mark.parametrize(
    ("nodelist", "host"),
    [
        ("node1", "node1"),
        ("a[03-05,9],b2", "a03"),
        ("b2,a[03-05]", "b2"),
        ("r[1-2]n[5,7-8]", "r1n5"),
        ("gpu-a-[10]", "gpu-a-10"),
        ("a[1-2]-ib,c", "a1-ib"),
    ],
)
def test_first_host(nodelist, host):
    assert launch.first_host(nodelist) == host


def refused(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_fit_the_job_is_refused_in_one_line():
    two = ComputeSettings(gpus=2, processes=2)
    visible = {"CUDA_VISIBLE_DEVICES": "3"}
    line = refused(launch.on_this_node, two, Path("x.yaml"), [], visible, 1)
    assert "2 processes on this node" in line
    assert "1 can be used" in line
    assert "CUDA_VISIBLE_DEVICES is '3'" in line
    nodes = ComputeSettings(processes=2, nodes=2)
    assert "SLURM_JOB_NUM_NODES is not set" in refused(launch.on_every_node, nodes, [], {})
    fewer = SLURM | {"SLURM_JOB_NUM_NODES": "1"}
    assert "the Slurm job has 1" in refused(launch.on_every_node, nodes, [], fewer)


def test_deepspeed_is_refused_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    zero = ComputeSettings(gpus=2, processes=2, sharding="zero3")
    assert "needs the package deepspeed" in refused(launch.require_software, zero)
    launch.require_software(ComputeSettings(processes=2, sharding="fsdp2"))


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        ({"gpus": 1, "processes": 2}, "2 processes with 1 GPUs"),
        ({"processes": 4, "nodes": 3}, "nodes: 3 does not divide processes 4"),
        ({"sharding": "fsdp2"}, "sharding: 'fsdp2' with one process"),
        ({"processes": 2, "sharding": "zero2"}, "sharding: 'zero2' needs GPUs"),
        (
            {"gpus": 2, "processes": 2, "sharding": "zero2"},
            "sharding: 'zero2' cannot train stages.ppo by PPO (allowed: fsdp2, none)",
        ),
        ({"gpus": 2, "processes": 2, "sharding": "ddp"}, "'fsdp2'"),
    ],
)
def test_what_cannot_be_is_refused_before_any_job(compute, message):
    assert message in refused(study, {"compute": compute})


def test_deepspeed_is_for_sft_and_its_second_stage_for_grpo():
    zero = {"gpus": 2, "processes": 2, "sharding": "zero2"}
    half = {"dtype": "bfloat16"}
    by_grpo = {"stages": {"ppo": {"method": "grpo"}}, "model": half}
    study({"compute": zero} | by_grpo)
    stages = {
        "base": {"method": "pretrain"},
        "sft": {"method": "sft", "from": "base", "on": "demonstrations"},
    }
    sft_alone = {"stages": stages, "story": {"path": "sft"}}
    for sharding in ("zero2", "zero3"):
        read_settings(sft_alone | {"compute": zero | {"sharding": sharding}, "model": half})
    message = refused(study, {"compute": zero | {"sharding": "zero3"}} | by_grpo)
    assert "'zero3' cannot train stages.ppo by GRPO (allowed: fsdp2, none, zero2)" in message
    message = refused(read_settings, sft_alone | {"compute": zero})
    assert "model.dtype: 'float32' is not what compute.sharding 'zero2' saves" in message


def start(*arguments, **environment):
    inherited = {name: value for name, value in os.environ.items() if "SLURM" not in name}
    return subprocess.run(
        [sys.executable, "scripts/launch.py", *arguments],
        cwd=ROOT,
        env=inherited | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


SAYS_WHO_IT_IS = """
import sys
from accelerate import PartialState
from accelerate.utils import gather_object
from svdrift.training.processes import leave
state = PartialState(cpu=True)
found = gather_object([f"{state.process_index} of {state.num_processes}"])
if state.is_main_process:
    print(found, sys.argv[1:])
leave()
"""

# Stands in for Slurm's: starts the program once for each node, all on this machine.
SRUN = """#!/bin/sh
echo "srun $1 $2 $3"
shift 5
for node in 0 1; do SLURM_NODEID=$node "$@" & done
wait
"""


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_launcher_starts_processes_that_find_each_other(tmp_path, nodes):
    script, srun = tmp_path / "who.py", tmp_path / "srun"
    script.write_text(SAYS_WHO_IT_IS)
    srun.write_text(SRUN)
    srun.chmod(0o755)
    done = start(
        "--compute",
        f'{{"processes": 2, "nodes": {nodes}}}',
        "--",
        str(script),
        "--flag",
        "a b",
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        **SLURM | {"SLURM_JOB_NODELIST": "localhost,other"},
    )
    assert done.returncode == 0, done.stderr
    assert "['0 of 2', '1 of 2'] ['--flag', 'a b']" in done.stdout
    assert ("srun --nodes=2 --ntasks=2 --ntasks-per-node=1" in done.stdout) == (nodes == 2)


TAKES_ITS_TIME = """
import signal, sys, time
def note(*_):
    time.sleep(0.5)
    sys.stdout.write("snapshot\\n")
    sys.exit(3)
signal.signal(signal.SIGTERM, note)
sys.stdout.write("ready\\n")  # in one piece, where two processes share the pipe
sys.stdout.flush()
time.sleep(60)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_reaches_the_script_and_its_end_is_waited_for(tmp_path, processes):
    (tmp_path / "slow.py").write_text(TAKES_ITS_TIME)
    compute = json.dumps({"processes": processes})
    script = tmp_path / "slow.py"
    job = subprocess.Popen(
        [sys.executable, "scripts/launch.py", "--compute", compute, "--", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = iter(job.stdout.readline, "")
    ready = 0
    while ready < processes:
        ready += next(lines) == "ready\n"
    job.terminate()
    assert list(lines).count("snapshot\n") == processes
    assert job.wait(60) != 0


def test_the_launcher_refuses_in_one_line():
    done = start("--compute", '{"processes": 2, "nodes": 2}', "--", "train.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "compute.nodes: 2 nodes" in done.stderr
    done = start("--compute", '{"gpus": 2, "processes": 2}', "--", "x.py", CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "0 can be used (CUDA_VISIBLE_DEVICES is '')" in done.stderr
