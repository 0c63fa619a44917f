"""Keep the problems that a checkpoint solves neither too rarely nor too often."""

import argparse
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.evaluation.sampling import ask, pass_rates, sampling_arguments, split_by_rate
from svdrift.scripting import (
    PROVENANCE,
    read_table,
    run,
    settings_argument,
    write_provenance,
    write_table,
)
from svdrift.study.data import PassRate


class Settings(PassRate):
    """`PassRate`, where --checkpoint says whose."""

    of: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, Settings)
    sampling_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="problems that are kept (parquet)")
    parser.add_argument("--dropped", type=Path, required=True, help="the other ones (parquet)")
    args = parser.parse_args()
    started = time.time()

    problems = read_table(args.problems)
    if problems.empty:
        raise UserError(f"{args.problems}: holds no problems to filter")
    rates = pass_rates(ask(args, problems, args.settings.samples, args.settings.temperature))
    kept, dropped = split_by_rate(problems, rates, args.settings.at_least, args.settings.at_most)
    if kept.empty:
        raise UserError(
            f"{args.problems}: no problem has a pass rate from {args.settings.at_least:g} to "
            f"{args.settings.at_most:g}; {args.checkpoint} solves its {len(problems)} problems at "
            f"rates from {rates.min():g} to {rates.max():g} (change at_least, at_most or the "
            "checkpoint)"
        )
    write_table(kept, args.out)
    write_table(dropped, args.dropped)
    write_provenance(
        args.out.parent,
        inputs={"model": args.model, "problems": args.problems},
        settings={
            "pass_rate": args.settings.model_dump(mode="json", exclude={"of"}),
            "task": args.task,
            "checkpoint": args.checkpoint,
            "max_reply_tokens": args.max_reply_tokens,
            "dtype": args.dtype,
        },
        seed=args.seed,
        started=started,
        name=f"{args.out.stem}.{PROVENANCE}",
    )


if __name__ == "__main__":
    run(main)
