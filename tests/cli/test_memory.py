"""Peak memory of compare and recover, measured by the kernel in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

LAYERS, HIDDEN, VOCABULARY = 12, 128, 40_000

# The first run imports and allocates what any run needs; the peak of the second is the command's.
MEASURE = """
import contextlib, io, json, re, sys
from pathlib import Path
from svdrift.cli import main

def run(arguments):
    sys.argv = ["svdrift", *arguments]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            assert not ended.code, ended.code

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

warm, measured = json.loads(sys.argv[1])
run(warm)
Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
before = kilobytes("VmRSS")
run(measured)
print(1024 * (kilobytes("VmHWM") - before))
"""


def checkpoint(folder: Path, seed: int, *, layers: int, vocabulary: int) -> int:
    """Save a Llama in bfloat16 shards of 4 MB; return its number of parameters."""
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        vocab_size=vocabulary,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:  # a direction beyond the random bulk, as training leaves it
                parameter.add_(0.05 * torch.outer(parameter[:, 0].sign(), parameter[0].sign()))
    model.bfloat16().save_pretrained(folder, max_shard_size="4MB")
    return model.num_parameters()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Folders small-0, small-1, large-0, large-1, and the bytes of both large ones in float32."""
    folder = tmp_path_factory.mktemp("pairs")
    count = 0
    for seed in (0, 1):
        checkpoint(folder / f"small-{seed}", seed, layers=1, vocabulary=50)
        count += checkpoint(folder / f"large-{seed}", seed, layers=LAYERS, vocabulary=VOCABULARY)
    assert len(list((folder / "large-0").glob("*.safetensors"))) == 3
    return folder, 4 * count


COMMANDS = {
    "compare": "compare {f}/{s}-0 {f}/{s}-1 --draws 2",
    "recover": "recover --anchor {f}/{s}-0 --target {f}/{s}-1 --ranks 0.2 --layers-only "
    "--out {f}/{s}-made",
    "check": "check {f}/{s}-0 --no-spectra",
}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
@pytest.mark.parametrize("command", COMMANDS)
def test_never_holds_more_than_a_third_of_both_models(pairs: tuple[Path, int], command: str):
    folder, both = pairs
    runs = [COMMANDS[command].format(f=folder, s=size).split() for size in ("small", "large")]
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(runs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) < both / 3
