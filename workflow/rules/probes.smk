"""What is measured on checkpoints without training them: a rule for each probe of the study."""

from svdrift import plugins
from svdrift.probes.probe import ROOM as PROBES
from svdrift.tasks import probing


def looking(plan):
    """Parameters of the jobs of a probe."""
    files = plugins.files(PROBES, plan.kind)
    if plan.record.asks_task:
        files += probing.files(STUDY.task.name)
    return {
        **generating("scripts/probe.py", *files),
        "settings": plan.settings.model_dump_json(),
        "others": lambda wildcards: " ".join(plan.others_of(wildcards.checkpoint)),
        "task": playing(*plan.data.values(), *(split.name for split in plan.splits)),
        "splits": splits_as_json(plan.splits),
        "most": "" if plan.count is None else f"--count {plan.count}",
        "max_reply_tokens": STUDY.task.max_reply_tokens,
        "dtype": STUDY.model.dtype,
    }


def looked_at(plan, wildcards):
    """What the job of a checkpoint reads beside problems: models, or what it has played; data."""
    folder = SEED.format(seed=wildcards.seed)
    rows = {f"data_{key}": f"{folder}/problems/{name}.parquet" for key, name in plan.data.items()}
    if plan.record.reads == "episodes":
        return {"episodes": f"{folder}/evaluation/{wildcards.checkpoint}/episodes.parquet", **rows}
    others = plan.others_of(wildcards.checkpoint)
    return {
        "model": f"{folder}/models/{wildcards.checkpoint}",
        **{f"other_{key}": f"{folder}/models/{id}" for key, id in others.items()},
        **rows,
    }


def reading(plan):
    """The arguments that pass them to the script."""
    data = "".join(f" {key}={{input.data_{key}}}" for key in plan.data)
    rows = f" --data{data}" if data else ""
    if plan.record.reads == "episodes":
        return " --episodes {input.episodes}" + rows
    others = [*plan.others, *(["start"] if plan.record.with_start else [])]
    told = "".join(f" {key}={{input.other_{key}}}" for key in others)
    return " --model {input.model}" + (f" --others{told}" if others else "") + rows


def probe_rule(plan):
    """A function, so that the rule's functions keep their own plan."""

    rule:
        name:
            f"probe_{plan.name}"
        input:
            unpack(lambda wildcards: looked_at(plan, wildcards)),
            problems=expand(
                SEED + "/problems/{split}.parquet",
                split=[split.name for split in plan.splits],
                allow_missing=True,
            ),
        output:
            f"{SEED}/probes/{{checkpoint}}/{plan.name}.parquet",
        log:
            f"{LOGS}/seed-{{seed}}/probe_{plan.name}/{{checkpoint}}.log",
        benchmark:
            f"{BENCHMARKS}/seed-{{seed}}/probe_{plan.name}/{{checkpoint}}.tsv"
        wildcard_constraints:
            checkpoint=matching(plan.checkpoints),
        resources:
            **needs(f"probe_{plan.name}", mem_mb=4000, runtime=60, gpus=GPU),
            generation=untracked(STUDY.generation),
        params:
            **looking(plan),
        shell:
            reuse(
                f"python scripts/probe.py --kind {plan.kind}"
                + GENERATION
                + " --settings {params.settings:q} --task {params.task:q}"
                " --splits {params.splits:q} --max-reply-tokens {params.max_reply_tokens}"
                + reading(plan)
                + " --checkpoint {wildcards.checkpoint} --problems {input.problems} {params.most}"
                " --seed {wildcards.seed} --device {resources.device} --dtype {params.dtype}"
                " --out {output}"
            )


for plan in STUDY.probed.values():
    probe_rule(plan)


rule probes:
    input:
        [
            f"{SEED}/probes/{checkpoint}/{plan.name}.parquet".format(seed=seed)
            for plan in STUDY.probed.values()
            for seed in STUDY.seeds
            for checkpoint in plan.checkpoints
        ],
