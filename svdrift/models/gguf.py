"""Reading GGUF files, llama.cpp's form of a model and its tokenizer in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from gguf import GGUFReader
from transformers import AutoTokenizer, GgufConfig
from transformers.modeling_gguf_pytorch_utils import TensorProcessor, get_gguf_hf_weights_map

from svdrift.errors import UserError
from svdrift.models.folders import listed, one_line
from svdrift.models.loading import load_strictly, quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_gguf(file: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the causal language model and the tokenizer in a GGUF file, on the CPU.

    Weights are dequantised to float32, exactly: what they lost when they were quantised stays
    lost, and each block of 32 or 256 of them lies on a grid.

    Raises:
        UserError: the file is unreadable or of an architecture that transformers cannot convert;
            or a tensor is missing, unexpected or of the wrong shape.
    """
    try:
        names = {tensor.name for tensor in GGUFReader(file).tensors}
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{file}: not a GGUF file: {one_line(error)}") from error
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
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file}: tokenizer cannot be loaded: {one_line(error)}") from error
    return model, cast("PreTrainedTokenizerBase", tokenizer)
