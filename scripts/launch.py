"""Start a training script under `accelerate launch`, with as many processes and nodes as asked for.

What does not fit what the job was given is refused in one line. With several nodes this starts
itself once on each of them, by Slurm's `srun`.
"""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

import psutil
import torch
from accelerate.commands.launch import launch_command, launch_command_parser

from svdrift.compute import ComputeSettings
from svdrift.scripting import run, settings_argument
from svdrift.training.launch import on_every_node, on_this_node, require_software

CONFIGS = Path(__file__).resolve().parents[1] / "workflow" / "accelerate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, ComputeSettings, "--compute")
    parser.add_argument(
        "--on-this-node", action="store_true", help="srun has started this once on each node"
    )
    parser.add_argument("script", nargs="+", help="after --: a training script and its arguments")
    args = parser.parse_args()
    compute = args.compute
    require_software(compute)
    if compute.nodes > 1 and not args.on_this_node:
        program = [__file__, "--on-this-node", *sys.argv[1:]]
        command = on_every_node(compute, program, os.environ)
        os.execvp(command[0], command)  # in its place, so that signals reach it
    config = CONFIGS / f"{compute.accelerate}.yaml"
    visible = torch.cuda.device_count() if compute.device == "cuda" else 0
    command = on_this_node(compute, config, args.script, os.environ, visible)
    print(shlex.join(command), flush=True)
    # Not as a program of its own: of one process that would end on SIGTERM before the script has
    # left its snapshot. With several, torchrun passes the signal on, and waits.
    signal.signal(signal.SIGTERM, _pass_on)
    launch_command(launch_command_parser().parse_args(command[2:]))


def _pass_on(number: int, frame: FrameType | None) -> None:
    for child in psutil.Process().children():
        child.send_signal(number)


if __name__ == "__main__":
    run(main)
