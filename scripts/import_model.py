"""Check a user's model folder strictly, and link its files as the study's base model."""

import argparse
import os
import time
from pathlib import Path

from svdrift.models.loading import load_model, load_tokenizer
from svdrift.scripting import PROVENANCE, run, write_provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face model folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of links")
    args = parser.parse_args()
    started = time.time()

    load_model(args.model)
    load_tokenizer(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    for file in args.model.resolve().iterdir():
        if file.is_file() and file.name != PROVENANCE and not file.name.startswith("."):
            os.symlink(file, args.out / file.name)
    write_provenance(
        args.out, inputs={"model": args.model}, settings={}, seed=None, started=started
    )


if __name__ == "__main__":
    run(main)
