SFT, RL = "3. Supervised fine-tuning", "4. Reinforcement learning"
WEIGHTS, RECOVERY = "5. Spectra", "6. Recovery"
ACCURACY = TABLES + "/accuracy.parquet"
PUBLISHED_CURVE = "svdrift/reference/llama_ood_by_checkpoint.csv"
PUBLISHED_STAGES = "svdrift/reference/accuracy_by_stage.csv"
PUBLISHED_VALUES = "svdrift/reference/singular_value_control.csv"

LOSSES = {
    name: f"{TABLES}/{table}.parquet"
    for name, table in (("losses", "sft_losses"), ("objectives", "objectives"))
}

# Every figure: its chapter in the report, the tables that its `draw` takes, and whole numbers.
PLOTS = {
    "accuracy_by_step": (SFT, {"accuracy": ACCURACY, "published": PUBLISHED_CURVE}, {}),
    "loss_by_step": (SFT, LOSSES, {}),
    "faults_by_step": (SFT, {"accuracy": ACCURACY}, {}),
}
if STUDY.rl_starts:
    STAGES = {
        "accuracy": ACCURACY,
        "anchors": TABLES + "/anchors.parquet",
        "published": PUBLISHED_STAGES,
    }
    PLOTS |= {
        "recovery_window": (RL, {"accuracy": ACCURACY, "published": PUBLISHED_CURVE}, {}),
        "rl_effect": (RL, {"differences": TABLES + "/rl_effect.parquet"}, {}),
        "stages": (RL, STAGES, {"moderate_step": STUDY.moderate_start}),
    }
if STUDY.rl_starts and STUDY.rl.method == "ppo":  # GRPO has no values to take advantages from
    PLOTS["advantages"] = (RL, {"histograms": TABLES + "/advantages.parquet"}, {})
if STUDY.trajectories:  # what happens on the way is known only where it was evaluated
    LAST = {"last_update": STUDY.rl.training.updates}
    PLOTS["rl_progress"] = (RL, {"accuracy": ACCURACY}, LAST)
    PLOTS["objectives"] = (RL, {"objectives": TABLES + "/objectives.parquet"}, LAST)
if PAIRS:
    DRIFT = {name: f"{TABLES}/{name}.parquet" for name in ("drift", "matrices")}
    VALUES = {name: f"{TABLES}/{name}.parquet" for name in ("value_changes", "spectrum")}
    PLOTS |= {
        "spectrum_change": (WEIGHTS, DRIFT | VALUES, {}),
        "rotation_by_rank": (WEIGHTS, DRIFT, {}),
        "rotation_by_position": (WEIGHTS, DRIFT, {}),
        "rotation_heatmap": (WEIGHTS, DRIFT, {}),
    }
if UPDATES:
    PLOTS["rl_update"] = (WEIGHTS, {"updates": TABLES + "/updates.parquet"}, {})
if REPAIRS:
    RECOVERED = {"recovery": TABLES + "/recovery.parquet"}
    PLOTS |= {
        "recovery_by_rank": (RECOVERY, RECOVERED | {"published": PUBLISHED_VALUES}, {}),
        "recovery_by_layers": (RECOVERY, RECOVERED, {}),
        "recovery_frontier": (RECOVERY, RECOVERED, {}),
        "recovery_effect": (RECOVERY, {"effect": TABLES + "/recovery_effect.parquet"}, {}),
    }


def arguments(values):
    return " ".join(f"{name}={value}" for name, value in values.items())


for figure, (chapter, tables, numbers) in PLOTS.items():

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
            numbers=arguments(numbers),
        shell:
            logged(
                "python scripts/plot.py {params.figure} {params.tables} --number {params.numbers}"
                " --out {output.png}"
            )


rule figures:
    input:
        expand(FIGURES + "/{figure}.{kind}", figure=PLOTS, kind=["png", "pdf", "csv"]),
