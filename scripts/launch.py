"""Start a training script under `accelerate launch`, with as many processes and nodes as asked for.

What does not fit what the job was given is refused in one line. With several nodes this starts
itself once on each of them, by Slurm's `srun`.
"""

import argparse
import os
import sys
from pathlib import Path

from svdrift.scripting import run, settings_argument
from svdrift.settings import ComputeSettings
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
    else:
        config = CONFIGS / f"{compute.accelerate}.yaml"
        command = on_this_node(compute, config, args.script, os.environ, _visible_gpus(compute))
    sys.stdout.flush()
    os.execvp(command[0], command)  # in its place, so that signals reach it


def _visible_gpus(compute: ComputeSettings) -> int:
    if not compute.gpus:
        return 0
    import torch  # takes seconds

    return torch.cuda.device_count()


if __name__ == "__main__":
    run(main)
