"""Sample a checkpoint's replies to problems, as demonstrations for a later stage."""

import argparse
import time
from pathlib import Path

from svdrift.errors import UserError
from svdrift.evaluation.sampling import ask, keep_replies, sampling_arguments, without_replies
from svdrift.scripting import (
    PROVENANCE,
    read_table,
    run,
    settings_argument,
    write_provenance,
    write_table,
)
from svdrift.study.data import Replies


class Settings(Replies):
    """`Replies`, where --checkpoint and --problems say whose and to what."""

    replies_of: str = ""
    on: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, Settings)
    sampling_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="one row a reply (parquet)")
    args = parser.parse_args()
    started = time.time()

    problems = without_replies(read_table(args.problems))
    if problems.empty:
        raise UserError(f"{args.problems}: holds no problems to reply to")
    replies = ask(args, problems, args.settings.samples, args.settings.temperature)
    kept = keep_replies(
        replies.assign(checkpoint=args.checkpoint),
        verified=args.settings.verified,
        distinct=args.settings.distinct,
        per_problem=args.settings.per_problem,
        count=args.settings.count,
        seed=args.seed,
    )
    if kept.empty:
        raise UserError(
            f"{args.problems}: the verifier accepts none of the {len(replies)} replies of "
            f"{args.checkpoint} (try more samples, a higher temperature, another checkpoint, "
            "or verified: false)"
        )
    write_table(kept, args.out)
    write_provenance(
        args.out.parent,
        inputs={"model": args.model, "problems": args.problems},
        settings={
            "replies": args.settings.model_dump(mode="json", exclude={"replies_of", "on"}),
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
