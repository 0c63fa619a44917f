"""Check the model that a study starts from strictly, and make it the study's base model.

The files of a folder, or of a model on the Hugging Face hub, are linked, unless they must be
rounded first; a GGUF file is dequantised and written as a model folder.
"""

import argparse
import os
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.checking import require_complete
from svdrift.models.folders import floating_types
from svdrift.models.gguf import load_gguf
from svdrift.models.hub import download
from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
from svdrift.models.sources import HubModel, find_source
from svdrift.scripting import PROVENANCE, run, write_provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        required=True,
        help="folder, .gguf file, package:NAME of a package that ships one, or ORG/NAME on the hub",
    )
    dtype_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="the model folder to make")
    args = parser.parse_args()
    started = time.time()
    if args.out.exists():
        raise UserError(f"--out: {args.out} is there already; nothing is overwritten")

    found = find_source(args.model)
    source = download(found) if isinstance(found, HubModel) else found
    if source.is_file():
        save_checkpoint(*load_gguf(source), args.out, DTYPES[args.dtype])
    else:
        require_complete(source)
        tokenizer = load_tokenizer(source)
        if args.dtype == "bfloat16" and floating_types(source) != {"BF16"}:
            save_checkpoint(load_model(source), tokenizer, args.out, DTYPES[args.dtype])
        else:  # what is in fewer bits than wanted is exact as it is
            link(source, args.out)
    # A snapshot of the hub lies in a folder that is named by its commit.
    commit = source.name if isinstance(found, HubModel) else None
    write_provenance(
        args.out,
        inputs={"model": source},
        settings={"source": args.model, "commit": commit},
        seed=None,
        started=started,
    )


def link(folder: Path, out: Path) -> None:
    """Link the files of a model folder, but not what stands in its subfolders."""
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.resolve().iterdir():
        if file.is_file() and file.name != PROVENANCE and not file.name.startswith("."):
            os.symlink(file, out / file.name)


if __name__ == "__main__":
    run(main)
