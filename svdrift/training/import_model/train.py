"""Check the model that a study starts from strictly, and make it a model of the study.

The files of a folder, or of a model on the Hugging Face hub, are linked, unless they must be
rounded first; a GGUF file is dequantised and written as a model folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from svdrift.models.checking import require_complete
from svdrift.models.folders import floating_types
from svdrift.models.gguf import load_gguf
from svdrift.models.hub import download
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.sources import HubModel, find_source
from svdrift.scripting import PROVENANCE
from svdrift.training.run import Run, Trained, folder


def train(run: Run) -> Trained:
    """Import the model that `run.settings.source` names."""
    out = folder(run.work, 0)
    shutil.rmtree(out, ignore_errors=True)  # of an attempt that was cut off
    found = find_source(run.settings.source)
    source = download(found) if isinstance(found, HubModel) else found
    if source.is_file():
        save_checkpoint(*load_gguf(source), out, run.dtype)
    else:
        require_complete(source)
        tokenizer = load_tokenizer(source)
        if run.dtype == torch.bfloat16 and floating_types(source) != {"BF16"}:
            save_checkpoint(load_model(source), tokenizer, out, run.dtype)
        else:  # what is in fewer bits than wanted is exact as it is
            link(source, out)
    # A snapshot of the hub lies in a folder that is named by its commit.
    commit = source.name if isinstance(found, HubModel) else None
    return Trained({0: out}, {}, inputs={"model": source}, notes={"commit": commit})


def link(folder: Path, out: Path) -> None:
    """Link the files of a model folder, but not what stands in its subfolders."""
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.resolve().iterdir():
        if file.is_file() and file.name != PROVENANCE and not file.name.startswith("."):
            os.symlink(file, out / file.name)
