"""Pick sample replies: one right, one wrong, one of a problem that was solved and forgotten."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from svdrift.checkpoints import ANCHOR, resolve
from svdrift.scripting import read_table, run, write_table
from svdrift.story import Story
from svdrift.tasks import make_task, task_argument

COLUMNS = ["kind", "count", "n", "split", "problem", "prompt", "gold"]
COLUMNS += ["checkpoint", "reply", "solved", "fault"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    task_argument(parser)
    parser.add_argument(
        "--story", type=Story.model_validate_json, required=True, help="the study's story (JSON)"
    )
    parser.add_argument("--episodes", type=Path, nargs="+", required=True, help="of checkpoints")
    parser.add_argument(
        "--problems", type=Path, nargs="+", required=True, help="one parquet per test split"
    )
    parser.add_argument("--anchor-choice", type=Path, required=True, help="of choose_anchor.py")
    parser.add_argument("--out", type=Path, required=True, help="a row a reply (parquet)")
    args = parser.parse_args()

    task = make_task(args.task)
    splits = {path.stem for path in args.problems}
    episodes = pd.concat([read_table(path) for path in args.episodes], ignore_index=True)
    problems = pd.concat([read_table(path) for path in args.problems], ignore_index=True)
    first = episodes[(episodes["try_number"] == 1) & episodes["split"].isin(splits)]
    peak = resolve(ANCHOR, args.anchor_choice)
    shown = pd.concat(list(samples(first, args.story, peak)), ignore_index=True)
    posed = problems.drop_duplicates("problem").set_index("problem").loc[shown["problem"].unique()]
    texts = {
        str(name): (task.first_turn(problem), task.gold_reply(problem))
        for name, problem in zip(posed.index, task.read(posed.reset_index()), strict=True)
    }
    shown["prompt"] = [texts[name][0] for name in shown["problem"]]
    shown["gold"] = [texts[name][1] for name in shown["problem"]]
    write_table(shown[COLUMNS], args.out)


def samples(first: pd.DataFrame, story: Story, peak: str) -> Iterator[pd.DataFrame]:
    """The first problem of each kind in the order of the table, with the checkpoints' replies.

    Kinds: `right` (ID, solved at the end of the path), `wrong` (OOD, solved neither at the peak nor
    at the end), `forgot` (OOD, solved at the peak and not at the end), and where there is RL from
    the moderate start `regained` (OOD, solved at the peak, not at that start, and after RL again).
    A kind that no problem is of is left out.

    Args:
        first: episodes of first tries.
        story: the path, and RL's results.
        peak: id of the checkpoint that stands highest on OOD.
    """
    last = story.last
    wanted = [
        ("right", "id", [(last, True)]),
        ("wrong", "ood", [(peak, False), (last, False)]),
        ("forgot", "ood", [(peak, True), (last, False)]),
    ]
    if story.rl and story.moderate in story.rl.results:
        result = story.rl.results[story.moderate]
        wanted.append(("regained", "ood", [(peak, True), (story.moderate, False), (result, True)]))
    for kind, shift, conditions in wanted:
        own = first[(first["role"] == "test") & (first["shift"] == shift)]
        solved = {
            name: rows.set_index("problem")["solved"] for name, rows in own.groupby("checkpoint")
        }
        fits = pd.concat([solved[name].eq(value) for name, value in conditions], axis=1).all(axis=1)
        found = fits.index[fits]
        if len(found):
            names = [name for name, _ in conditions]
            rows = own[own["problem"] == found[0]].set_index("checkpoint")
            yield (
                rows.loc[list(dict.fromkeys(names))]
                .reset_index()
                .assign(kind=kind, count=len(found), n=len(fits))
            )


if __name__ == "__main__":
    run(main)
