"""Put a checkpoint that a run kept where the study has its models, as links if that is possible.

Its files must still be those that were written: a damaged one would be the same file here.
"""

import argparse
from pathlib import Path

from svdrift.artefacts import link_tree, require_unchanged
from svdrift.scripting import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kept", type=Path, required=True, help="folder that training left")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    args = parser.parse_args()

    require_unchanged(args.kept)
    link_tree(args.kept, args.out)


if __name__ == "__main__":
    run(main)
