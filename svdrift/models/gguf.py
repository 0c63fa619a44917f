"""Reading GGUF files, llama.cpp's form of a model and its tokenizer in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from gguf import GGUFReader
from transformers import AutoConfig, AutoTokenizer, GgufConfig
from transformers.modeling_gguf_pytorch_utils import TensorProcessor, get_gguf_hf_weights_map

from svdrift.errors import UserError
from svdrift.models.apart import ROOM, try_apart
from svdrift.models.folders import listed, one_line
from svdrift.models.loading import auto_class, load_strictly, quiet_transformers
from svdrift.models.sizes import number_faults, require_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SECONDS = 300.0  # to read metadata and tokenizer; a large vocabulary takes seconds
MUCH_LARGER = 2


def load_gguf(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the causal language model and the tokenizer in a GGUF file, on the CPU.

    Weights are dequantised to float32, exactly: what they lost when they were quantised stays
    lost, and each block of 32 or 256 of them lies on a grid.

    Raises:
        UserError: the file is unreadable, holds no tensors, or is of an architecture that
            transformers cannot convert; its metadata describe an impossible or a far larger model;
            the weights do not fit into memory; or a tensor is missing, unexpected, of the wrong
            shape or not finite.
    """
    room = ROOM + file.stat().st_size
    try_apart(
        file, "cannot be read as a model", lambda: _try_file(file), seconds=SECONDS, room=room
    )
    names = {tensor.name for tensor in GGUFReader(file).tensors}
    model = load_strictly(
        file,
        file.parent,
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    # transformers passes over tensors that its model lacks, such as the factors by which llama.cpp
    # scales rotary frequencies (rope_freqs), without which the model would be another.
    known = get_gguf_hf_weights_map(model, TensorProcessor())
    if faults := listed("unexpected", names - set(known)):
        raise UserError(f"{file}: tensors do not fit {type(model).__name__}: {faults[0]}")
    return model, _tokenizer(file)


def _try_file(file: Path) -> None:
    """Read metadata, shapes and tokenizer, and describe the model without its weights."""
    try:
        tensors = GGUFReader(file).tensors
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{file}: not a GGUF file: {one_line(error)}") from error
    if not tensors:
        raise UserError(f"{file}: holds no tensors, so it is no model")
    held = sum(int(tensor.n_elements) for tensor in tensors)
    with quiet_transformers():
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
    if faults := list(number_faults(config.to_dict(), tensors=len(tensors), entries=held)):
        raise UserError(f"{file}: {faults[0]}")
    with torch.device("meta"):
        model = auto_class(config).from_config(config)
    described = sum(parameter.numel() for parameter in model.parameters())
    if described > MUCH_LARGER * held:  # what it lacks would be made, at length, and then refused
        raise UserError(
            f"{file}: its metadata describe a model of {described:,} weights, but it holds "
            f"{held:,} only"
        )
    require_memory(file, described, torch.float32)
    _tokenizer(file)


def _tokenizer(file: Path) -> PreTrainedTokenizerBase:
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return cast("PreTrainedTokenizerBase", tokenizer)
