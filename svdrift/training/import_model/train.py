"""Check the model that a study starts from strictly, and make it a model of the study.

The files of a folder, or of a model on the Hugging Face hub, are linked, unless they must be
rounded first; a GGUF file is dequantised and written as a model folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedTokenizerBase

from svdrift.artefacts import PROVENANCE, SUMS
from svdrift.models.apart import ROOM, try_apart
from svdrift.models.chat import require_renders
from svdrift.models.checking import require_complete
from svdrift.models.finite import require_finite_files
from svdrift.models.folders import floating_types, require_config
from svdrift.models.gguf import load_gguf
from svdrift.models.hub import download
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.sources import HubModel, find_source
from svdrift.training.run import Run, Trained, folder

OWN = (PROVENANCE, SUMS)  # notes of another study about its folder
SECONDS = 300.0  # to describe a model without its weights, and to read its tokenizer


def train(run: Run) -> Trained:
    """Import the model that `run.settings.source` names."""
    out = folder(run.work, 0)
    shutil.rmtree(out, ignore_errors=True)  # of an attempt that was cut off
    found = find_source(run.settings.source)
    source = download(found) if isinstance(found, HubModel) else found
    if source.is_file():
        model, tokenizer = load_gguf(source)
        require_renders(tokenizer, source, vocabulary(model.config))
        save_checkpoint(model, tokenizer, out, run.dtype)
    else:
        tokenizer = require_usable(source)
        if run.dtype == torch.bfloat16 and floating_types(source) != {"BF16"}:
            save_checkpoint(load_model(source), tokenizer, out, run.dtype)
        else:  # what is in fewer bits than wanted is exact as it is
            require_finite_files(source)
            link(source, out)
    # A snapshot of the hub lies in a folder that is named by its commit.
    commit = source.name if isinstance(found, HubModel) else None
    return Trained({0: out}, {}, inputs={"model": source}, notes={"commit": commit})


def require_usable(source: Path) -> PreTrainedTokenizerBase:
    """Refuse a model folder that cannot be loaded or asked, without reading its weights.

    Returns:
        Its tokenizer.

    Raises:
        UserError: in one line, whatever is wrong.
    """

    def try_folder() -> None:
        require_complete(source)
        load_tokenizer(source)

    require_config(source)
    room = ROOM + sum(path.stat().st_size for path in source.glob("*.safetensors"))
    try_apart(source, "cannot be loaded", try_folder, seconds=SECONDS, room=room)
    config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    tokenizer = load_tokenizer(source)
    require_renders(tokenizer, source, vocabulary(config))
    return tokenizer


def vocabulary(config: PretrainedConfig) -> int:
    """Number of tokens that a model knows."""
    return int(config.get_text_config().vocab_size)


def link(folder: Path, out: Path) -> None:
    """Link the files of a model folder, but not what stands in its subfolders."""
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.resolve().iterdir():
        if file.is_file() and file.name not in OWN and not file.name.startswith("."):
            os.symlink(file, out / file.name)
