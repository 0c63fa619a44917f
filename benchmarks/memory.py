"""Peak memory of `svdrift compare` and `svdrift recover`, beside loading both models whole.

python benchmarks/memory.py [--folder FOLDER] [--commands compare recover ...]

Both models are bfloat16 Llamas of the shape of SmolLM2-135M, each matrix of low rank plus noise.
Every row is a process of its own; the kernel reports its peak resident memory (`ru_maxrss`), so
it holds the interpreter, PyTorch and whatever pages of the model files are mapped. To take these
off, a row's process that imports PyTorch alone is given too. The ratio is to loading both models in
float32 with transformers. At most a third is wanted of the commands with their defaults.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MB = 10**6
ANCHOR, TARGET = "anchor", "target"

MAKE = """
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM
config = LlamaConfig(
    hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True,
)
torch.manual_seed(0)
model = LlamaForCausalLM(config)
matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
def low_rank(matrix, size):
    left, right = torch.randn(matrix.shape[0], 16), torch.randn(16, matrix.shape[1])
    return size * left @ right / 4
with torch.no_grad():
    for folder, size in zip(sys.argv[1:], (0.05, 0.002), strict=True):
        for matrix in matrices:
            matrix += low_rank(matrix, size) + 0.1 * size * torch.randn_like(matrix)
        model.bfloat16().save_pretrained(folder)
        model.float()
"""
LOAD = """
import sys
import torch
from transformers import AutoModelForCausalLM
both = [AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in sys.argv[1:]]
"""
COMMANDS = {
    "compare": "compare {anchor} {target} --draws 2",
    "compare, embedding too": "compare {anchor} {target} --draws 2 --modules embedding",
    "recover": "recover --anchor {anchor} --target {target} --ranks 0.2 --out {out}",
    "recover, all ranks": "recover --anchor {anchor} --target {target} --ranks 1 --out {out}",
    "recover, layers only": "recover --anchor {anchor} --target {target} --ranks 0.2"
    " --layers-only --out {out}",
}  # of "compare, embedding too" the other modules are in "compare"


def peak(*arguments: str) -> tuple[int, float]:
    """Run Python with these arguments; return its peak resident memory in bytes and its seconds.

    This process must stay small: a new process counts the one that it was forked from too.

    Raises:
        SystemExit: it failed.
    """
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said)
    return usage.ru_maxrss * 1024, time.monotonic() - began


def main() -> None:
    """Make the models where they are missing, measure, and print a row for each process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the models here (default: nowhere)")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        places = {name: str((arguments.folder or Path(room)) / name) for name in (ANCHOR, TARGET)}
        if not all(Path(place).is_dir() for place in places.values()):
            peak("-c", MAKE, *places.values())
        bare, _ = peak("-c", "import torch")
        both, seconds = peak("-c", LOAD, *places.values())
        print(f"{'':28}{'peak':>9}{'ratio':>8}{'without import':>18}{'ratio':>8}{'seconds':>9}")
        print(f"{'import torch':28}{bare / MB:6.0f} MB")
        print(row("load both in float32", both, bare, both, seconds))
        for number, name in enumerate(arguments.commands):
            command = COMMANDS[name].format(**places, out=Path(room) / str(number)).split()
            used, seconds = peak("-m", "svdrift", *command)
            print(row(name, used, bare, both, seconds), flush=True)


def row(name: str, peak_bytes: int, bare: int, both: int, seconds: float) -> str:
    """One line of the table: the peak, and what is left of it without PyTorch's import."""
    own, own_both = peak_bytes - bare, both - bare
    return (
        f"{name:28}{peak_bytes / MB:6.0f} MB{peak_bytes / both:8.3f}"
        f"{own / MB:15.0f} MB{own / own_both:8.3f}{seconds:9.0f}"
    )


if __name__ == "__main__":
    main()
