"""Related papers: estimates by hand on small tables, and what every paper has."""

import dataclasses
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdrift.evaluation.calibration import calibration_error
from svdrift.evaluation.pass_at_k import pass_at
from svdrift.figures import reliability, statements, style
from svdrift.findings.arms import accuracies, at_an_end, passes_above
from svdrift.findings.finding import findings_table, read_findings
from svdrift.findings.page import estimate
from svdrift.findings.paired import of_problems, weighted
from svdrift.findings.paper import load, paper
from svdrift.findings.paper_page import page
from svdrift.findings.papers import heals, quagmires, redistillation, sparkle_probes
from svdrift.plugins import names
from svdrift.probes.probe import record
from svdrift.ranks.search import method as rank_method
from svdrift.story import Role, Story

STARTS = ("sft-4", "sft-16", "sft-64")
RL = {start: f"{start}.ppo-60" for start in STARTS}
MORE = {start: f"{start}.more-120" for start in STARTS}
NULL = {start: f"{start}.null-60" for start in STARTS}
AFTER = {stage: {RL["sft-16"]: f"{RL['sft-16']}.{stage}-120"} for stage in ("again", "own")}


def role(stage, label, unit, results):
    kept = {start: (end,) for start, end in results.items()}
    return Role(stage=stage, label=label, unit=unit, results=results, kept=kept)


STORY = Story(
    path=("base", *STARTS),
    path_label="SFT",
    peak="sft-4",
    rl=role("ppo", "PPO", "update", RL),
    controls=(role("more", "more SFT", "step", MORE),),
    rl_null=role("null", "PPO with permuted rewards", "update", NULL),
    after=(
        role("again", "SFT after PPO", "step", AFTER["again"]),
        role("own", "SFT on own replies", "step", AFTER["own"]),
    ),
    moderate="sft-16",
    labels={"base": "base", "sft": "SFT", "ppo": "PPO", "more": "more SFT"},
)
BESIDE = [RL, MORE, NULL, *AFTER.values()]
IDS = ["base", *STARTS, *(end for results in BESIDE for end in results.values())]
PLACES = [
    ("test", "id"),
    ("test", "ood"),
    ("test", "odd"),
    ("selection", "id"),
    ("selection", "ood"),
]
SEEDS = (0, 1, 2)


def rows(extra=("",), problems=12):
    """A table with a row for each seed, checkpoint, place, problem and entry of `extra`."""
    columns = ["seed", "checkpoint", "place", "problem", "extra"]
    every = itertools.product(SEEDS, IDS, PLACES, range(problems), extra)
    table = pd.DataFrame(every, columns=columns)
    table["role"], table["shift"] = zip(*table.pop("place"), strict=True)
    return table.assign(group=table["problem"] // 2)


def tables():
    rng = np.random.default_rng(0)
    base = rows()
    size = len(base)
    given = rows([*sparkle_probes.GIVEN, "nothing"]).rename(columns={"extra": "given"})
    space = rows("abc", problems=1).rename(columns={"extra": "metric"})
    space = pd.concat([space.assign(change="own"), space.assign(change="noise")])
    accuracy = rows(problems=1).drop(columns=["problem", "group"])
    return {
        "scores": base.assign(
            valid=rng.random(size) < 0.6,
            expert_match=rng.random(size) < 0.4,
            same_form=rng.random(size) < 0.5,
            other_rule=rng.random(size) < 0.2,
            has_other_rule=rng.random(size) < 0.9,
            n_forms=base["problem"] % 3 + 1,
        ),
        "given": given.assign(solved=rng.random(len(given)) < 0.5),
        "losses": base.assign(
            loss=rng.gamma(2, size=size),
            set_loss=rng.gamma(1, size=size),
            loss_translation=0.1,
            loss_formula=0.9,
        ),
        "samples": base.assign(
            samples=16,
            correct=rng.integers(0, 17, size),
            distinct=rng.integers(0, 4, size),
            entropy=rng.random(size),
            rewards=[list(rng.integers(-1, 2, 16).astype(float)) for _ in range(size)],
            greedy_solved=rng.random(size) < 0.5,
            greedy_fault=rng.choice(["none", "wrong_value", "unreadable", "partial"], size),
            confidence=rng.random(size),
            agreement=rng.integers(0, 17, size) / 16,
        ),
        "sample_effect": effects(rng),
        "function_space": space.assign(back=rng.normal(size=len(space))),
        "accuracy": accuracy.assign(
            subset="all", measure="solved_first_try", value=rng.random(len(accuracy))
        ),
        **rank_tables(rng),
        "recovery_solved": repaired(rng),
    }


def effects(rng):
    """Of data sets that are named as the arms that learn them."""
    table = rows(redistillation.LEARNED).rename(columns={"extra": "data"})
    table = table[table["role"] == "selection"]
    return table.assign(
        tokens=rng.integers(10, 20, len(table)),
        log_prob=-rng.gamma(2, size=len(table)),
        effect=rng.normal(size=len(table)),
        adam_effect=rng.normal(size=len(table)),
    )


def repaired(rng):
    """A repair by three kinds, one of them at two settings."""
    given = {
        "target": None,
        "anchor": None,
        "trim-weight0.5": "trim",
        "interpolate-weight0.25": "interpolate",
        "interpolate-weight0.5": "interpolate",
        "random_directions-top0.2": "random_directions",
    }
    table = rows(given).rename(columns={"extra": "intervention"})
    table = table[table["checkpoint"] == "sft-64"].drop(columns="checkpoint")
    return table.assign(
        repair="last-with-anchor",
        kind=table["intervention"].map(given),
        solved=rng.random(len(table)) < 0.5,
    )


def rank_tables(rng):
    """Choices of ranks by all methods, of both tasks."""
    methods = {name: rank_method(name).label for name in names("svdrift.ranks.methods")}
    episodes = rows(methods).rename(columns={"extra": "method"})
    episodes = episodes[episodes["checkpoint"] == "sft-64"]
    searches = pd.DataFrame(
        itertools.product(SEEDS, methods, range(1, 21)), columns=["seed", "method", "evaluation"]
    )
    found = {}
    for name, table in {"rank_episodes": episodes, "rank_searches": searches}.items():
        table = table.assign(label=table["method"].map(methods))
        parts = [table.assign(choice=task, task=task) for task in ("repair", "keep")]
        found[name] = pd.concat(parts, ignore_index=True)
    found["rank_episodes"]["solved"] = rng.random(len(found["rank_episodes"])) < 0.5
    size = len(found["rank_searches"])
    found["rank_searches"] = found["rank_searches"].assign(
        score=rng.random(size), fits=rng.random(size) < 0.7, cost=0.2, measured="share solved"
    )
    return found


TABLES = tables()
PAPERS = names("svdrift.findings.papers")


def story_of(name):
    """The story, where a paper's arms are any checkpoints."""
    arms = dict(zip(paper(name).arms, itertools.cycle(IDS), strict=False))
    return STORY.model_copy(update={"arms": arms})


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_judges_all_its_claims(name, tmp_path):
    module, about = load(name), paper(name)
    for kind in about.reads:
        assert record(kind)
    found = module.findings(TABLES, story_of(name))
    assert {one.claim for one in found} == set(about.claims)
    assert len({one.statement for one in found}) == len(found)
    findings_table(found).to_csv(tmp_path / "findings.csv", index=False)
    told = read_findings(tmp_path / "findings.csv")
    costs = {arm: {"samples": 16384, "episodes": 0, "replies": 7} for arm in about.arms}
    shares = accuracies(about, TABLES, story_of(name))
    text = page(about, told, "a study.", costs, shares)
    assert all(one.statement in text for one in found)
    assert about.limits in text
    for arm, label in about.arms.items():
        solved = [f"{shares[arm][place]:.1%}" for place in ("ID", "OOD")]
        assert f"| {label} | {' | '.join(solved)} | 16,384 | 0 | 7 |" in text
    assert all(f"(https://arxiv.org/abs/{one})" in text for one in about.arxiv.split(", "))
    style.save(statements.draw(told), tmp_path / "statements.png")
    assert (tmp_path / "statements.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", PAPERS)
def test_without_rl_nothing_breaks(name):
    nothing = {"rl": None, "controls": (), "moderate": None, "rl_null": None, "after": ()}
    story = story_of(name).model_copy(update=nothing)
    for one in load(name).findings(TABLES, story):
        assert "PPO" not in one.statement


def test_a_weighted_sum_is_paired_clustered_and_over_seeds():
    scores = TABLES["scores"]
    place = ("test", "id")
    a, b = (of_problems(scores, one, place)["valid"].astype(float) for one in ("base", "sft-4"))
    found = weighted([(1, a), (-2, b)], scale=100)
    each, errors = [], []
    for seed in SEEDS:
        own = (a - 2 * b)[seed] * 100
        by_group = own.groupby(level="group")
        each.append(own.mean())
        # Groups have two problems each: the mean over groups.
        errors.append(by_group.mean().std(ddof=1) / math.sqrt(by_group.ngroups))
    assert found.each == pytest.approx(each)
    assert found.estimate == pytest.approx(np.mean(each))
    half = max(
        stats.t.isf(0.025, 2) * np.std(each, ddof=1) / math.sqrt(3),
        stats.norm.isf(0.025) * math.sqrt(np.square(errors).sum()) / 3,
    )
    assert found.high - found.estimate == pytest.approx(half)
    assert (found.n, found.groups) == (36, 18)


def test_the_p_of_a_bound_fits_the_interval():
    values = of_problems(TABLES["scores"], "base", ("test", "id"))["valid"].astype(float)
    found = weighted([(1, values)])
    assert weighted([(1, values)], bound=found.high).exact_p == pytest.approx(0.05, abs=1e-6)
    assert weighted([(1, values)], bound=found.estimate).exact_p == pytest.approx(1)


def test_one_group_is_not_enough():
    values = of_problems(TABLES["scores"], "base", ("test", "id"))["valid"].astype(float)
    assert weighted([(1, values[values.index.get_level_values("group") == 0])]) is None


def test_every_piece_takes_all_of_them():
    given = pd.DataFrame(
        {
            "seed": 0,
            "checkpoint": "base",
            "role": "test",
            "shift": "id",
            "group": [1] * 4 + [2] * 4,
            "problem": [1] * 4 + [2] * 4,
            "given": ["nothing", *sparkle_probes.PIECES] * 2,
            "solved": [True, True, True, True, True, True, False, True],
        }
    )
    assert list(sparkle_probes.every_piece(given, "base", ("test", "id"))) == [1, 0]


def test_agreement_counts_metrics():
    gaps = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, -1.0], "c": [-1.0, -1.0], "d": [1.0, 1.0]})
    found = heals._agreement(gaps)
    assert found.each == (75.0, 50.0)
    assert found.detail == "seeds that agree: a 2, b 1, c 0, d 2"
    assert (found.low, found.high) == (0, 100)  # two seeds alone: Student's t is far wider
    assert found.exact_p == pytest.approx(stats.ttest_1samp(found.each, 50).pvalue)


@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_pass_at_k_is_a_share_of_all_draws(k):
    correct = [0, 1, 3, 7, 8]
    draws = [
        np.mean([any(place < c for place in draw) for draw in itertools.combinations(range(8), k)])
        for c in correct
    ]
    found = pass_at(k, pd.Series([8] * 5), pd.Series(correct))
    assert found.to_list() == pytest.approx(draws)


def test_pass_at_k_needs_k_samples():
    with pytest.raises(ValueError, match="pass@9 needs 9 samples"):
        pass_at(9, pd.Series([8]), pd.Series([1]))


def with_order(**columns):
    """The tables with RL's ends, and columns of samples, in the order of the starts."""
    order = {id: place for place, id in enumerate(IDS)}
    accuracy, samples = TABLES["accuracy"].copy(), TABLES["samples"].copy()
    accuracy["value"] = accuracy["checkpoint"].map(order) / 100.0
    for column, sign in columns.items():
        samples[column] = sign * samples["checkpoint"].map(order)
    return TABLES | {"accuracy": accuracy, "samples": samples}


def test_a_perfect_predictor_is_found():
    tables = with_order(correct=1, entropy=1)
    found = {one.statement: one for one in quagmires.findings(tables, STORY)}
    named = found["Pass@8 (ID selection problems) goes with PPO's score at the end, ID"]
    assert (named.estimate, named.verdict) == (1, "holds")
    # The rival is described, and not judged.
    rival = "Entropy (ID selection problems)"
    assert found[f"{rival} goes with PPO's score at the end, ID"].estimate == 1
    line = found[f"{rival} predicts PPO's score at the end in a seed left out, ID"]
    assert (line.estimate, line.verdict) == (pytest.approx(1), "described")


def test_quagmires_judges_what_the_paper_names_by_where_rl_ends():
    found = quagmires.findings(TABLES, STORY)
    judged = [one.statement for one in found if one.verdict != "described"]
    assert all("score at the end" in one for one in judged if "goes with" in one)
    names = {one.split(" (")[0] for one in judged if "selection problems)" in one}
    assert names == {"Pass@8", "Lower loss of demonstrations"}


def test_gains_are_over_the_control():
    tables = with_order(entropy=1)
    control = tables["accuracy"]["checkpoint"].isin(MORE.values())
    # PPO's ends rise by a point a start; where the control's rise by two, gains fall.
    starts = tables["accuracy"]["checkpoint"].map({end: n for n, end in enumerate(MORE.values())})
    tables["accuracy"].loc[control, "value"] = 0.02 * starts[control]
    found = {one.statement: one for one in quagmires.findings(tables, STORY)}
    gain = found["Entropy (ID selection problems) goes with PPO's gain over more SFT, ID"]
    assert gain.estimate == -1


def test_the_start_is_chosen_on_selection_problems():
    tables = with_order(correct=1)
    found = [one for one in quagmires.findings(tables, STORY) if one.claim == "start"]
    (best,) = (one for one in found if "best start in hindsight, ID" in one.statement)
    assert best.estimate == 0
    assert best.verdict == "described"  # alike in every seed
    assert "(sft-64 in 3 seeds): it ends at 6.0 %" in best.detail
    # What happens on test problems decides nothing.
    accuracy = tables["accuracy"]
    test = accuracy["role"] == "test"
    accuracy.loc[test, "value"] = accuracy.loc[test, "value"].max() - accuracy.loc[test, "value"]
    found = [one for one in quagmires.findings(tables, STORY) if one.claim == "start"]
    (worst,) = (one for one in found if "best start in hindsight, ID" in one.statement)
    assert "(sft-64 in 3 seeds)" in worst.detail
    assert worst.estimate == pytest.approx(-2)


def test_published_numbers_stand_beside_what_they_are_about():
    """Papers looked at where RL ends, and at SFT on demonstrations."""
    told = {one.statement: one.published for one in quagmires.findings(TABLES, STORY)}
    name = "Lower loss of demonstrations (ID selection problems) goes with PPO's"
    assert told[f"{name} score at the end, ID"] == "0.94 and 0.90"
    assert told[f"{name} gain over more SFT, ID"] == "not measured"
    closer = "Lower loss of demonstrations goes with PPO's score at the end more closely than the"
    published = "0.94 and 0.90, greedy score 0.75 and 0.78"
    assert told[f"{closer} greedy score does, ID"] == published
    told = {one.statement: one.published for one in load("non_decoupling").findings(TABLES, STORY)}
    start = RL["sft-16"]
    assert told[f"SFT after PPO from {start} lowers the reward, ID"].startswith("confirmed")
    assert told[f"SFT on own replies from {start} lowers the reward, ID"] == "not measured"


def test_verdicts_of_non_decoupling_rest_on_what_the_claims_are_about():
    """Not on whether the null lacks a signal, and not on other data than the demonstrations."""
    found = load("non_decoupling").findings(TABLES, STORY)
    judged = {claim: [] for claim in paper("non_decoupling").claims}
    for one in found:
        if one.verdict != "described":
            judged[one.claim].append(one.statement)
    assert not any("reward than" in one for one in judged["against-null"])
    assert judged["sft-lowers-reward"]
    assert all(one.startswith("SFT after PPO") for one in judged["sft-lowers-reward"])
    assert all("less, or lowers it more" not in one for one in judged["sft-lowers-reward"])
    assert all("at a higher reward than SFT after PPO" in one for one in judged["its-data"])


def test_starts_are_counted():
    starts = pd.Series(["sft-4", "sft-16", "sft-16"])
    assert quagmires._counts(starts) == "sft-16 in 2 seeds, sft-4 in 1"


def test_a_reward_that_falls_is_seen_and_its_data_told_apart():
    """SFT on demonstrations takes 2 of the reward, SFT on own replies nothing."""
    samples = TABLES["samples"].copy()
    ours = samples["checkpoint"] == RL["sft-16"]
    for stage, change in (("again", -2.0), ("own", 0.0)):
        after = samples["checkpoint"] == AFTER[stage][RL["sft-16"]]
        samples.loc[after, "rewards"] = pd.Series(
            [[one + change for one in rewards] for rewards in samples.loc[ours, "rewards"]],
            index=samples.index[after],
        )
        samples.loc[after, "greedy_solved"] = samples.loc[ours, "greedy_solved"].to_numpy()
    tables = TABLES | {"samples": samples}
    found = {one.statement: one for one in load("non_decoupling").findings(tables, STORY)}
    start = RL["sft-16"]
    lowers = found[f"SFT after PPO from {start} lowers the reward, OOD"]
    assert (lowers.estimate, lowers.verdict) == (pytest.approx(-2), "holds")
    before = of_problems(samples, start, ("test", "ood"))["rewards"]
    mean, end = np.mean(before.to_list()), AFTER["again"][start]
    assert lowers.detail == f"{mean:.2f} at {start}, {mean - 2:.2f} at {end}"
    own = found[f"SFT on own replies from {start} lowers the reward, OOD"]
    assert (own.estimate, own.verdict, own.claim) == (0, "described", "its-data")
    told = f"SFT on own replies from {start} ends at a higher reward than SFT after PPO, OOD"
    assert (found[told].estimate, found[told].verdict) == (pytest.approx(2), "holds")


def test_a_calibration_gap_is_that_of_the_errors():
    samples = TABLES["samples"]
    ours, theirs = (of_problems(samples, one, ("test", "ood")) for one in ("sft-64", "sft-4"))
    found = heals.calibration_gap(ours, theirs, "confidence")
    errors = [
        [
            calibration_error(rows.loc[seed, "confidence"], rows.loc[seed, "greedy_solved"])
            for seed in SEEDS
        ]
        for rows in (ours, theirs)
    ]
    assert found.each == pytest.approx(100 * (np.array(errors[0]) - np.array(errors[1])))
    assert found.low < found.estimate < found.high
    assert (found.n, found.groups) == (36, 18)
    same = heals.calibration_gap(ours, ours, "confidence")
    assert (same.low, same.high) == (0, 0)


def test_the_reliability_figure_of_a_paper_is_drawn():
    (name,) = heals.PAPER.figures
    assert name == "reliability"
    drawing = reliability.draw(TABLES["samples"], STORY)
    assert set(drawing.data["checkpoint"]) == {
        "sft-4",
        "sft-64",
        "sft-16",
        RL["sft-16"],
        MORE["sft-16"],
    }
    assert set(drawing.data["sure"]) == {"confidence", "agreement"}
    assert drawing.data.groupby(["checkpoint", "shift", "sure"])["n"].sum().unique().tolist() == [
        36
    ]


def test_an_end_that_rounds_to_the_bound_is_told_with_one_digit_more():
    row = {"estimate": 1.4, "low": 0.02, "high": 2.8, "bound": 0.0, "unit": "points"}
    assert estimate(row) == "+1.4 points [0.02, 2.8]"
    assert estimate(row | {"bound": 1.0}) == "+1.4 points [0.0, 2.8]"


def test_few_samples_of_one_contest_leave_the_others_their_own():
    counts = {"a-1": 4, "b-1": 4, "c-1": 8, "d-1": 8}
    samples = pd.DataFrame(
        [
            (seed, name, "test", shift, hand, hand, count, hand)
            for seed, hand, shift in itertools.product(range(3), range(3), ("id", "ood"))
            for name, count in counts.items()
        ],
        columns=["seed", "checkpoint", "role", "shift", "group", "problem", "samples", "correct"],
    )
    arms = {id.removesuffix("-1"): id for id in counts}
    about = dataclasses.replace(paper("trapo"), arms=arms)
    story = STORY.model_copy(update={"arms": arms})
    contests = [("a", "b", "x"), ("c", "d", "x")]
    told = [s.statement for s, _ in passes_above(about, samples, story, "keeps", contests, k=64)]
    assert told[0] == "a-1 has a higher pass@4 than b-1, ID"
    assert told[2] == "c-1 has a higher pass@8 than d-1, ID"


def test_floors_and_ceilings_are_said():
    low, mid, high = (pd.Series([share]) for share in (0.09, 0.5, 0.95))
    assert at_an_end(low, low) == ", both near the floor"
    assert at_an_end(high, high) == ", both near the ceiling"
    assert at_an_end(low, mid) == at_an_end(mid, high) == ""
