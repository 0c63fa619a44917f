"""Figures, findings with verdicts, and the report that shows them."""

import sys
from shlex import quote

from svdrift import plugins
from svdrift.errors import choices
from svdrift.findings.paper import ROOM as PAPERS
from svdrift.findings.paper import paper, short
from svdrift.study.arm_costs import arm_cost
from svdrift.study.differences import differences
from svdrift.study.overlays import read_config

PATH, RL = "3. Supervised fine-tuning", "4. Reinforcement learning"
WEIGHTS, RECOVERY = "5. Spectra", "6. Recovery"
PUBLISHED_CURVE = "svdrift/reference/llama_ood_by_checkpoint.csv"
PUBLISHED_STAGES = "svdrift/reference/accuracy_by_stage.csv"
PUBLISHED_VALUES = "svdrift/reference/singular_value_control.csv"


def of(*tables, **files):
    """The arguments of a figure: tables of the study by their names, and other files."""
    return {table: f"{TABLES}/{table}.parquet" for table in tables} | files


# Every figure: its chapter in the report, and the tables that its `draw` takes.
PLOTS = {
    "stages_overview": (PATH, of("accuracy")),
    "accuracy_by_step": (PATH, of("accuracy", published=PUBLISHED_CURVE)),
    "loss_by_step": (PATH, of("losses", "objectives")),
    "faults_by_step": (PATH, of("accuracy")),
}
SIGNALS = ["signals"] if HEARD else []
if STORY.rl:
    PLOTS |= {
        "recovery_window": (RL, of("accuracy", *SIGNALS, published=PUBLISHED_CURVE)),
        "rl_effect": (RL, of("comparisons", *SIGNALS)),
        "stages": (RL, of("accuracy", "anchors", published=PUBLISHED_STAGES)),
    }
    if "advantages" in STUDY.graph.stages[STORY.rl.stage].record.tables:  # has a value model
        PLOTS["advantages"] = (RL, of("advantages"))
    if any(len(kept) > 1 for kept in STORY.rl.kept.values()):  # the way there was evaluated
        PLOTS["rl_progress"] = (RL, of("accuracy"))
        PLOTS["objectives"] = (RL, of("objectives"))
if STUDY.pairs:
    PLOTS |= {
        "spectrum_change": (WEIGHTS, of("drift", "matrices", "value_changes", "spectrum")),
        "rotation_by_rank": (WEIGHTS, of("drift", "nulls", "matrices")),
        "rotation_by_position": (WEIGHTS, of("drift", "nulls", "matrices")),
        "rotation_heatmap": (WEIGHTS, of("drift", "matrices")),
    }
if STUDY.update_starts:
    PLOTS["rl_update"] = (WEIGHTS, of("updates"))
if STUDY.repairs:
    PLOTS |= {
        "recovery_by_rank": (RECOVERY, of("recovery", published=PUBLISHED_VALUES)),
        "recovery_by_layers": (RECOVERY, of("recovery")),
        "recovery_frontier": (RECOVERY, of("recovery")),
        "recovery_effect": (RECOVERY, {"effect": f"{TABLES}/recovery_effect.parquet"}),
    }
if STUDY.rank_choices:
    PLOTS["rank_searches"] = (RECOVERY, of("rank_searches"))


WITHOUT_STORY = {"rank_searches", "recovery_by_rank", "recovery_by_layers", "recovery_effect"}


def story_of(figure):
    """What a figure's `draw` takes of the story; the overview shows every stage."""
    if figure in WITHOUT_STORY:
        return ""
    return f"--story {quote((STORY if figure == 'stages_overview' else ROLES).model_dump_json())}"


def arguments(values):
    return " ".join(f"{name}={value}" for name, value in values.items())


for figure, (chapter, tables) in PLOTS.items():

    rule:
        name:
            f"plot_{figure}"
        input:
            **tables,
        output:
            png=report(
                f"{FIGURES}/{figure}.png",
                caption=f"../report/{figure}.rst",
                category=chapter,
                labels={"figure": figure.replace("_", " ")},
            ),
            pdf=f"{FIGURES}/{figure}.pdf",
            csv=f"{FIGURES}/{figure}.csv",
        log:
            f"{LOGS}/plot_{figure}.log",
        benchmark:
            f"{BENCHMARKS}/plot_{figure}.tsv"
        group:
            "figures"
        resources:
            **needs(),
        params:
            **code("scripts/plot.py", f"svdrift/figures/{figure}.py"),
            figure=figure,
            tables=arguments(tables),
            story=story_of(figure),
        shell:
            logged(
                "python scripts/plot.py {params.figure} {params.tables} {params.story}"
                " --out {output.png}"
            )


rule figures:
    input:
        expand(FIGURES + "/{figure}.{kind}", figure=PLOTS, kind=["png", "pdf", "csv"]),


# The tables that findings are computed from, by the option that takes them.
EVIDENCE = {
    "contrasts": "contrasts",
    "accuracy": "accuracy",
    **({"comparisons": "comparisons"} if STUDY.compared and STORY.rl else {}),
    **({"signals": "signals"} if HEARD else {}),
    **({"drift": "drift", "nulls": "nulls"} if STUDY.pairs else {}),
    **({"recovery-effect": "recovery_effect"} if STUDY.repairs else {}),
}


rule summarise_findings:
    """Statements with estimates, intervals and verdicts, from tables alone."""
    input:
        expand(TABLES + "/{table}.parquet", table=EVIDENCE.values()),
        PUBLISHED_CURVE,
        PUBLISHED_STAGES,
    output:
        report(
            TABLES + "/findings.csv",
            caption="../report/findings.rst",
            category="1. Findings",
            labels={"table": "findings with verdicts"},
        ),
    log:
        LOGS + "/summarise_findings.log",
    benchmark:
        BENCHMARKS + "/summarise_findings.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/summarise_findings.py"),
        tables=" ".join(
            f"--{option} {TABLES}/{table}.parquet" for option, table in EVIDENCE.items()
        ),
        story=ROLES.model_dump_json(),
    shell:
        logged(
            "python scripts/summarise_findings.py {params.tables} --story {params.story:q}"
            " --out {output}"
        )


SHOWN_SEED = STUDY.seeds[0]  # whose replies and problems the report shows
REPLYING = dict.fromkeys(  # checkpoints whose replies may be shown
    [
        *STORY.candidates,
        STORY.last,
        *(
            [STORY.moderate, STORY.rl.results[STORY.moderate]]
            if STORY.rl and STORY.moderate in STORY.rl.results
            else []
        ),
    ]
)
TESTS = [
    split.name
    for split in STUDY.evaluated_splits
    if split.role == "test" and split.shift in ("id", "ood")
]


rule show_replies:
    """A right reply, a wrong one and one of a problem that was forgotten, as samples."""
    input:
        episodes=expand(
            SEED + "/evaluation/{checkpoint}/episodes.parquet",
            seed=SHOWN_SEED,
            checkpoint=REPLYING,
        ),
        problems=expand(PROBLEMS + "/{split}.parquet", seed=SHOWN_SEED, split=TESTS),
        choice=expand(SEED + "/selection/anchor.json", seed=SHOWN_SEED),
    output:
        TABLES + "/replies.parquet",
    log:
        LOGS + "/show_replies.log",
    benchmark:
        BENCHMARKS + "/show_replies.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/show_replies.py", *TASK),
        task=playing(*TESTS, rewards=False),
        story=ROLES.model_dump_json(),
    shell:
        logged(
            "python scripts/show_replies.py --task {params.task:q} --story {params.story:q}"
            " --episodes {input.episodes} --problems {input.problems}"
            " --anchor-choice {input.choice} --out {output}"
        )


# What the report names beside itself.
LINKS = [
    "tables/findings.csv=every statement",
    *(f"papers/{short(name)}/README.md={paper(name).title}" for name in STUDY.papers),
    *(
        f"tables/{table}.parquet"
        for table in [*COLLECTED, *(t for t, made in MEASURED.items() if made)]
    ),
    "tables/replies.parquet=the samples above",
    "configuration.json=every setting as it was resolved",
    "story.json=which checkpoint plays which part",
    *(
        f"seed-{seed}/{folder}"
        for seed in STUDY.seeds
        for folder in ("problems/", "training/", "models/", "evaluation/")
    ),
]


rule write_report:
    """One page that needs nothing else: what came out, every figure, and how it was made."""
    input:
        page="workflow/report/page.html.jinja",
        findings=TABLES + "/findings.csv",
        replies=TABLES + "/replies.parquet",
        problems=expand(PROBLEMS + "/summary.csv", seed=SHOWN_SEED),
        figures=expand(FIGURES + "/{figure}.png", figure=PLOTS),
        captions=expand("workflow/report/{name}.rst", name=["problems", *PLOTS]),
    output:
        page=RESULTS + "/report.html",
        provenance=RESULTS + "/report.provenance.json",
    log:
        LOGS + "/write_report.log",
    benchmark:
        BENCHMARKS + "/write_report.tsv"
    localrule: True
    resources:
        **needs(),
        folder=RESULTS,  # its benchmarks and provenance are shown
        # Also settings that decide nothing, for which no page is written anew.
        changed=lambda wildcards: json.dumps(
            differences(
                STUDY.model_dump(mode="json"),
                read_settings(read_config(None)).model_dump(mode="json"),
            )
        ),
    params:
        **code("scripts/write_report.py"),
        chapters=json.dumps({figure: chapter for figure, (chapter, *_) in PLOTS.items()}),
        story=ROLES.model_dump_json(),
        study=STUDY.study,
        seeds=STUDY.seeds,
        made_of=config["made_of"],
        links=LINKS,
    shell:
        logged(
            "python scripts/write_report.py --page {input.page} --findings {input.findings}"
            " --replies {input.replies} --problems {input.problems} --figures {input.figures}"
            " --captions {input.captions} --chapters {params.chapters:q} --story {params.story:q}"
            " --study {params.study} --seeds {params.seeds} --made-of {params.made_of:q}"
            " --changed {resources.changed:q} --links {params.links:q} --folder {resources.folder}"
            " --out {output.page}"
        )


rule write_gallery:
    """The findings, figures and their tables as Markdown, to put into a repository; on demand."""
    input:
        findings=TABLES + "/findings.csv",
        # Of the nulls' draws, drift has the means.
        tables=expand(
            TABLES + "/{table}.parquet",
            table=[table for table in EVIDENCE.values() if table != "nulls"],
        ),
        figures=expand(FIGURES + "/{figure}.png", figure=PLOTS),
        captions=expand("workflow/report/{figure}.rst", figure=PLOTS),
    output:
        directory(RESULTS + "/gallery"),
    log:
        LOGS + "/write_gallery.log",
    benchmark:
        BENCHMARKS + "/write_gallery.tsv"
    localrule: True
    resources:
        **needs(),
    params:
        **code("scripts/write_gallery.py"),
        chapters=json.dumps({figure: chapter for figure, (chapter, *_) in PLOTS.items()}),
        study=STUDY.study,
        made_of=config["made_of"],
    shell:
        logged(
            "python scripts/write_gallery.py --findings {input.findings} --tables {input.tables}"
            " --figures {input.figures}"
            " --captions {input.captions} --chapters {params.chapters:q} --study {params.study}"
            " --made-of {params.made_of:q} --out {output}"
        )


rule gallery:
    input:
        rules.write_gallery.output,


def paper_tables(name, reads):
    """What a paper reads: tables of probes by their kind, and the study's own by their name."""
    made = [*COLLECTED, *(table for table, wanted in MEASURED.items() if wanted)]
    for table in paper(name).tables:
        if table not in made:
            sys.exit(
                f"error: config: papers: {name} reads the table {table!r}, which the study does not "
                f"make{choices(table, made)}"
            )
    tables = {kind: f"{TABLES}/probe_{probe}.parquet" for kind, probe in reads.items()}
    return tables | of(*paper(name).tables)


def paper_rule(paper_file, tables):
    """A function, so that the rule's shell command keeps its own paper."""
    name = short(paper_file)

    rule:
        name:
            f"judge_{name}"
        input:
            **tables,
        output:
            multiext(f"{RESULTS}/papers/{name}/", "findings.csv", "README.md"),
            multiext(f"{RESULTS}/papers/{name}/statements", ".png", ".pdf"),
        log:
            f"{LOGS}/judge_{name}.log",
        benchmark:
            f"{BENCHMARKS}/judge_{name}.tsv"
        localrule: True
        resources:
            **needs(),
            folder=f"{RESULTS}/papers/{name}",
        params:
            **code("scripts/judge_paper.py", *plugins.files(PAPERS, paper_file)),
            tables=arguments(tables),
            story=STORY.model_dump_json(),
            made_of=config["made_of"],
            costs=json.dumps(
                {arm: arm_cost(STORY.arms[arm], STUDY) for arm in paper(paper_file).arms}
            ),
        shell:
            logged(
                f"python scripts/judge_paper.py {quote(paper_file)} {{params.tables}}"
                " --story {params.story:q}"
                " --made-of {params.made_of:q} --costs {params.costs:q} --out {resources.folder}"
            )


def paper_figure_rule(name, figure, tables):
    """A figure of a paper's own, beside its page."""

    rule:
        name:
            f"plot_{figure}_of_{name}"
        input:
            **tables,
        output:
            multiext(f"{RESULTS}/papers/{name}/{figure}", ".png", ".pdf", ".csv"),
        log:
            f"{LOGS}/plot_{figure}_of_{name}.log",
        benchmark:
            f"{BENCHMARKS}/plot_{figure}_of_{name}.tsv"
        localrule: True
        resources:
            **needs(),
        params:
            **code("scripts/plot.py", f"svdrift/figures/{figure}.py"),
            tables=arguments(tables),
            story=STORY.model_dump_json(),
        shell:
            logged(
                f"python scripts/plot.py {figure} {{params.tables}} --story {{params.story:q}}"
                " --out {output[0]}"
            )


PAPER_PAGES = []
for name, reads in STUDY.evidence.items():
    tables = paper_tables(name, reads)
    paper_rule(name, tables)
    PAPER_PAGES.append(f"{RESULTS}/papers/{short(name)}/README.md")
    for figure, drawn in paper(name).figures.items():
        paper_figure_rule(short(name), figure, {one: tables[one] for one in drawn})
        PAPER_PAGES.append(f"{RESULTS}/papers/{short(name)}/{figure}.png")


rule papers:
    input:
        PAPER_PAGES,


rule findings:
    input:
        rules.summarise_findings.output,
        rules.write_report.output,
        rules.papers.input,
