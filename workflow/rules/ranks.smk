"""A rank for each matrix: chosen by several methods on selection problems, judged once on tests."""

from pathlib import PurePath

from svdrift.ranks.search import ROOM as RANK_METHODS

RANKED_SPLITS = [
    split
    for split in STUDY.evaluated_splits
    if split.role == "selection" or split.role == "test" and split.shift in ("id", "ood")
]


def rank_rule(name, choice):
    """A function, so that the rule's functions keep their own choice."""
    methods = [PurePath(method).stem for method in choice.methods]
    folder = f"{SEED}/ranks/{name}"
    # Only repairs are what `svdrift recover --ranks` takes.
    files = expand(folder + "/{method}.json", method=methods, allow_missing=True)
    files = files if choice.task == "repair" else []

    rule:
        name:
            f"choose_ranks_{name}"
        input:
            unpack(lambda wildcards: decomposed(wildcards, *choice.checkpoints)),
            problems=expand(
                SEED + "/problems/{split}.parquet",
                split=[split.name for split in RANKED_SPLITS],
                allow_missing=True,
            ),
        output:
            *files,
            searches=folder + "/searches.parquet",
            shares=folder + "/shares.parquet",
            episodes=folder + "/episodes.parquet",
        log:
            f"{LOGS}/seed-{{seed}}/choose_ranks/{name}.log",
        benchmark:
            f"{BENCHMARKS}/seed-{{seed}}/choose_ranks/{name}.tsv"
        resources:
            **needs("choose_ranks", mem_mb=4000, runtime=60, gpus=GPU),
            folder=filled(SEED),
            generation=untracked(STUDY.generation),
            evaluation=untracked(STUDY.evaluation),
            files=filled(folder),
        params:
            **generating(
                "scripts/choose_ranks.py",
                *(file for one in choice.methods for file in plugins.files(RANK_METHODS, one)),
            ),
            settings=as_json(choice),
            evaluation=as_json(STUDY.evaluation, without=["tries", "multi_try_splits"]),
            task=playing(*(split.name for split in RANKED_SPLITS)),
            splits=splits_as_json(RANKED_SPLITS),
            max_reply_tokens=STUDY.task.max_reply_tokens,
            dtype=STUDY.model.dtype,
        shell:
            reuse(
                f"python scripts/choose_ranks.py --name {name}"
                " --settings {params.settings:q}"
                " --evaluation {params.evaluation:q} {resources.evaluation:q}"
                + GENERATION
                + " --task {params.task:q} --splits {params.splits:q}"
                " --max-reply-tokens {params.max_reply_tokens}"
                + FIND_CHECKPOINTS
                + " --problems {input.problems} --seed {wildcards.seed}"
                " --device {resources.device} --dtype {params.dtype}"
                " --searches {output.searches} --shares {output.shares}"
                " --episodes {output.episodes}" + (" --files {resources.files}" if files else ""),
                inputs="{input.problems} " + COMPARED,
            )


for name, choice in STUDY.rank_choices.items():
    rank_rule(name, choice)


rule ranks:
    input:
        expand(
            SEED + "/ranks/{name}/{table}.parquet",
            seed=STUDY.seeds,
            name=STUDY.rank_choices,
            table=["searches", "shares", "episodes"],
        ),
