"""Run a command, unless its outputs are in the store of finished artefacts; then take them there.

The store is $SVDRIFT_STORE, by default results/.store; an empty value switches it off.
The command's output, exit status and signals pass through unchanged.
"""

import argparse
import os
from pathlib import Path

from svdrift.forkserver import call
from svdrift.scripting import run
from svdrift.store import Ask, key_of, produce


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--key", nargs="+", required=True, help="all that decides the outputs, but for the inputs"
    )
    parser.add_argument(
        "--inputs", type=Path, nargs="*", default=[], help="files and folders, by their contents"
    )
    parser.add_argument(
        "--candidates",
        type=Path,
        nargs="*",
        default=[],
        help="inputs of checkpoints one of which is the anchor; the others' do not count",
    )
    parser.add_argument(
        "--choice", type=Path, nargs="?", help="which checkpoint the anchor is (JSON)"
    )
    parser.add_argument(
        "--outputs", type=Path, nargs="+", required=True, help="files and folders of the command"
    )
    parser.add_argument("command", nargs="+", help="after --")
    args = parser.parse_args()

    store = os.environ.get("SVDRIFT_STORE", "results/.store")
    if not store:
        raise SystemExit(call(args.command))
    ask = Ask(args.key, args.inputs, args.outputs, args.candidates).chosen(args.choice)
    status = produce(
        Path(store),
        key_of(ask.key, ask.inputs),
        args.outputs,
        lambda: call(args.command),
        lambda line: print(line, flush=True),
    )
    raise SystemExit(status)


if __name__ == "__main__":
    run(main)
