"""Mix the problems of several sets in given shares."""

import argparse
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.scripting import (
    PROVENANCE,
    read_table,
    run,
    settings_argument,
    write_provenance,
    write_table,
)
from svdrift.study.data import Mixture
from svdrift.tasks.mixing import mix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, Mixture)
    parser.add_argument(
        "--problems",
        type=Path,
        nargs="+",
        required=True,
        help="the sets: a parquet file each, in the order of the shares",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="one row a problem (parquet)")
    args = parser.parse_args()
    started = time.time()

    shares = args.settings.mix
    if len(args.problems) != len(shares):
        raise UserError(
            f"--problems: {len(args.problems)} files, but {len(shares)} shares "
            f"({', '.join(shares)})"
        )
    paths = dict(zip(shares, args.problems, strict=True))
    tables = {name: read_table(path) for name, path in paths.items()}
    write_table(mix(tables, shares, args.settings.count, args.seed), args.out)
    write_provenance(
        args.out.parent,
        inputs=paths,
        settings=args.settings,
        seed=args.seed,
        started=started,
        name=f"{args.out.stem}.{PROVENANCE}",
    )


if __name__ == "__main__":
    run(main)
