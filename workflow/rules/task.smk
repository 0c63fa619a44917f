"""Problems: the task's splits, and what stages learn from that is made of them."""

from svdrift.study.data import Expert, Filter, Mixture, Replies, Variant, inputs
from svdrift.tasks import probing

PROBLEMS = SEED + "/problems"


rule summarise_task:
    """The task's reference table, such as the solutions of every problem."""
    output:
        RESULTS + "/reference.parquet",
    log:
        LOGS + "/summarise_task.log",
    benchmark:
        BENCHMARKS + "/summarise_task.tsv"
    resources:
        **needs(),
    params:
        **code("scripts/summarise_task.py", *TASK),
        skills=as_json(STUDY.task.skills),
    shell:
        logged("python scripts/summarise_task.py --skills {params.skills:q} --out {output}")


rule make_problems:
    """Deal one split of one seed."""
    input:
        own=lambda wildcards: STUDY.task.files(wildcards.split),
        training=lambda wildcards: [
            f"{PROBLEMS}/{name}.parquet"
            for split in STUDY.task.splits
            if split.name == wildcards.split
            for name in split.after
        ],
    output:
        problems=PROBLEMS + "/{split}.parquet",
        provenance=PROBLEMS + "/{split}.provenance.json",
    log:
        LOGS + "/seed-{seed}/make_problems/{split}.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/make_problems/{split}.tsv"
    wildcard_constraints:
        split=matching(STUDY.split_names),
    resources:
        **needs(),
    params:
        **code("scripts/make_problems.py", *TASK),
        settings=lambda wildcards: as_json(STUDY.task.deal(wildcards.split)),
        asked=lambda wildcards: STUDY.task.count(wildcards.split),
    shell:
        reuse(
            "python scripts/make_problems.py --settings {params.settings:q}"
            " --split {wildcards.split} --count {params.asked} --training {input.training}"
            " --seed {wildcards.seed} --out {output.problems}"
        )


rule check_problems:
    """Check that the splits are disjoint, and the task's own verifier on every problem."""
    input:
        expand(PROBLEMS + "/{split}.parquet", split=STUDY.split_names, allow_missing=True),
    output:
        report(
            PROBLEMS + "/summary.csv",
            caption="../report/problems.rst",
            category="2. Problems",
            labels={"table": "splits", "seed": "{seed}"},
        ),
    log:
        LOGS + "/seed-{seed}/check_problems.log",
    benchmark:
        BENCHMARKS + "/seed-{seed}/check_problems.tsv"
    resources:
        **needs(),
    params:
        **code("scripts/check_problems.py", *TASK),
        settings=playing(*STUDY.split_names, rewards=False),
    shell:
        logged(
            "python scripts/check_problems.py --settings {params.settings:q} --problems {input}"
            " --out {output}"
        )


def problems_of(data):
    return [f"{PROBLEMS}/{name}.parquet" for name in inputs(data)]


ASKING = (  # how a script asks a checkpoint for replies
    GENERATION + " --settings {params.settings:q} --task {params.task:q}"
    " --max-reply-tokens {params.max_reply_tokens} --model {input.model}"
    " --checkpoint {params.checkpoint} --problems {input.problems} --seed {wildcards.seed}"
    " --device {resources.device} --dtype {params.dtype}"
)
DERIVE = {
    Replies: "python scripts/sample_replies.py" + ASKING + " --out {output.problems}",
    Filter: (
        "python scripts/filter_problems.py"
        + ASKING
        + " --out {output.problems} --dropped {output.dropped}"
    ),
    Mixture: (
        "python scripts/mix_problems.py --settings {params.settings:q} --seed {wildcards.seed}"
        " --problems {input.problems} --out {output.problems}"
    ),
    Expert: (
        "python scripts/draw_demonstrations.py --task {params.task:q} --seed {wildcards.seed}"
        " --problems {input.problems} --out {output.problems}"
    ),
    Variant: (
        "python scripts/vary_problems.py --settings {params.settings:q}"
        " --problems {input.problems} --out {output.problems}"
    ),
}


def deriving(name, data):
    """Parameters of a job that makes data from splits or other data."""
    if isinstance(data, Variant):
        settings = as_json(STUDY.task.vary(**data.changes).deal(data.on))
        return {**code("scripts/vary_problems.py", *TASK), "settings": settings}
    if isinstance(data, Mixture):
        return {**code("scripts/mix_problems.py"), "settings": data.model_dump_json()}
    if isinstance(data, Expert):
        listing = probing.files(STUDY.task.name)
        return {
            **code("scripts/draw_demonstrations.py", *TASK, *listing),
            "task": playing(data.on, rewards=False),
        }
    script = "sample_replies" if isinstance(data, Replies) else "filter_problems"
    asked = data if isinstance(data, Replies) else data.pass_rate
    exclude = {"replies_of", "on", "of"}
    return {
        **generating(f"scripts/{script}.py"),
        "settings": asked.model_dump_json(exclude=exclude),
        "task": playing(data.on, rewards=False),
        "max_reply_tokens": STUDY.task.max_reply_tokens,
        "checkpoint": STUDY.asked[name],
        "dtype": STUDY.model.dtype,
    }


def data_rule(name, data):
    """A function, so that the rule's shell command keeps its own data."""

    rule:
        name:
            f"derive_{name}"
        input:
            problems=problems_of(data),
            model=f"{SEED}/models/{STUDY.asked[name]}" if name in STUDY.asked else [],
        output:
            **(
                {"dropped": f"{PROBLEMS}/{name}.dropped.parquet"}
                if isinstance(data, Filter)
                else {}
            ),
            problems=f"{PROBLEMS}/{name}.parquet",
        log:
            f"{LOGS}/seed-{{seed}}/derive_{name}.log",
        benchmark:
            f"{BENCHMARKS}/seed-{{seed}}/derive_{name}.tsv"
        resources:
            **needs(f"derive_{name}", mem_mb=4000, runtime=60, gpus=GPU * (name in STUDY.asked)),
            generation=untracked(STUDY.generation),
        params:
            **deriving(name, data),
        shell:
            reuse(DERIVE[type(data)])


for name, data in STUDY.graph.data.items():
    data_rule(name, data)


rule problems:
    input:
        rules.summarise_task.output,
        expand(PROBLEMS + "/summary.csv", seed=STUDY.seeds),
