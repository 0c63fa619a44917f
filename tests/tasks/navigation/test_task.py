"""Navigation as a task: splits, vocabulary, pretraining, baselines, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest

from svdrift.errors import UserError
from svdrift.tasks import make_task
from svdrift.tasks.dealing import read_task
from svdrift.tasks.navigation.dealing import check_splits
from svdrift.tasks.navigation.prompts import COMPACT_WORDS
from svdrift.tasks.navigation.routes import NAMES, TURN_WORDS, Route, Step
from tests.tasks.test_tasks import deal

SMALL = {
    "demonstrations": 200,
    "practice": 400,
    "selection": 60,
    "test": 150,
    "demonstrated_test": 80,
}
POSITIONS = 256  # of the tiny model


@pytest.fixture(scope="module")
def settings():
    shifts = {"unseen": {"names": "new"}, "fewer": {"headings": 4}}
    return read_task("navigation", {"problems": SMALL, "shifts": shifts})


@pytest.fixture(scope="module")
def tables(settings):
    return deal(settings)


def task(style="compact"):
    given = {"max_reply_tokens": 100} if style == "paper" else {}
    return make_task(read_task("navigation", {"prompt_style": style} | given).play("id_test"))


@pytest.mark.parametrize("style", ["compact", "paper"])
def test_it_keeps_its_promises(settings, tables, style):
    summary = task(style).validate(tables).set_index("split")
    assert list(summary["problems"]) == [settings.count(split.name) for split in settings.splits]
    assert pd.concat(tables.values())["problem"].is_unique
    rules = summary["rule"]
    assert set(rules[["ood_selection", "ood_test"]]) == {"relative"}
    assert set(rules.drop(["ood_selection", "ood_test"])) == {"absolute"}
    assert summary["turns"].between(0.2, 0.45).all()


def test_splits_share_no_route(settings, tables):
    groups = {name: set(table["group"]) for name, table in tables.items()}
    names = [name for name in groups if name != "demonstrated"]
    for name in names:
        for other in names:
            assert name == other or not groups[name] & groups[other]
    assert groups["demonstrated"] <= groups["demonstrations"]
    assert deal(settings, seed=1)["id_test"]["group"].iloc[0] not in groups["id_test"]
    pd.testing.assert_frame_equal(deal(settings)["ood_test"], tables["ood_test"])


def test_rules_differ_exactly_at_turns(tables):
    for table in tables.values():
        turns = table["kind"] == "turn"
        assert ((table["gold"] != table["gold_other_rule"]) == turns).all()
        assert (table["subsets"] == table["kind"]).all()


def test_a_split_has_whole_routes_but_for_the_last(tables):
    table = tables["id_test"]
    for place, (_, steps) in enumerate(table.groupby("group", sort=False)):
        assert list(steps["step"]) == list(range(1, len(steps) + 1))
        whole = steps["step"].iloc[-1] == steps["steps"].iloc[0]
        assert whole or place == table["group"].nunique() - 1


def test_the_expert_solves_every_step_under_both_rules(settings, tables):
    table = tables["practice"]
    for rule in ("absolute", "relative"):
        varied = task().vary(table, settings.vary(rule=rule).deal("practice"))
        for step, gold in zip(task().read(varied), varied["gold"], strict=True):
            assert task().gold_reply(step).endswith(f" : {gold}")
            assert task().verify(step, task().gold_reply(step)).solved


def test_a_wrong_action_leaves_the_next_prompt_as_it_is(tables):
    """A step's prompt is made from the table alone, and begins like that of the step before."""
    table = tables["id_test"].head(40)
    steps = task().read(table)
    for before, after in pairwise(steps):
        if after.route != before.route:
            continue
        posed = task().first_turn(after)
        task().verify(before, "seen nothing sentence 1 : stop")
        assert task().first_turn(after) == posed
        assert posed.startswith(task().first_turn(before).removesuffix("answer"))


@pytest.mark.parametrize(
    ("split", "other", "told"),
    [
        ("id_test", "practice", "id_test: shares the route .* with practice"),
        ("ood_test", "ood_selection", "ood_test: shares the route .* with ood_selection"),
        ("demonstrated", "practice", "demonstrated: has routes that are not demonstrated"),
    ],
)
def test_a_broken_promise_is_named(tables, split, other, told):
    with pytest.raises(RuntimeError, match=told):
        check_splits(tables | {split: tables[other]})


def test_a_step_twice_and_equal_rules_are_named(tables):
    twice = pd.concat([tables["id_test"]] * 2)
    with pytest.raises(RuntimeError, match="has a step twice"):
        check_splits({"id_test": twice})
    same = tables["id_test"].assign(gold_other_rule=tables["id_test"]["gold"])
    with pytest.raises(RuntimeError, match="rules differ elsewhere than at turns"):
        check_splits({"id_test": same})


def test_words_cover_all_turns_and_positions_suffice(settings, tables):
    posed = task()
    words = set(posed.words)
    assert len(words) == len(posed.words)
    assert all(word.split() == [word] for word in words)
    turns = [turn for one in posed.pretraining_examples(settings.skills, 300, 0) for turn in one]
    pairs = [
        (posed.first_turn(step), posed.gold_reply(step))
        for table in tables.values()
        for step in posed.read(table)
    ]
    turns += [turn for pair in pairs for turn in pair]
    replies = ("", ": forward", ": stop", ": turn north", ": turn left", ": turn x", "seen : stop")
    for step in posed.read(tables["ood_test"].head(3)):
        turns += [posed.verify(step, reply).feedback for reply in replies]
    assert {word for turn in turns for word in turn.split()} <= words
    assert max(len(reply.split()) for _, reply in pairs) < settings.max_reply_tokens
    longest = max(len(" ".join(pair).split()) for pair in pairs)
    assert 100 < longest < POSITIONS - settings.max_reply_tokens


def test_lengths_are_those_of_the_steps(settings, tables):
    """Two tokens of the chat template stand around a prompt, and one ends a reply."""
    posed = task()
    steps = [step for table in tables.values() for step in posed.read(table)]
    prompts, replies = (
        sum(len(turn(step).split()) for step in steps) / len(steps)
        for turn in (posed.first_turn, posed.gold_reply)
    )
    assert settings.tokens.prompt == pytest.approx(prompts + 2, rel=0.05)
    assert settings.tokens.reply == pytest.approx(replies + 1, rel=0.05)
    feedback = posed.verify(steps[0], "").feedback
    assert settings.tokens.feedback == len(feedback.split()) + 2


def test_the_longest_prompt_fits_the_positions():
    """Five legs with four points each: 169 words, and a reply of 12."""
    legs = 5
    route = Route(
        headings=(0, 90, 0, 90, 0, 90),
        turns=("right", "left", "right", "left", "right"),
        blocks=(1,) * legs,
        landmarks=tuple(f"{name} left" for name in NAMES["known"][:legs]),
        kept_points=(4,) * legs,
    )
    last = Step(route, len(route.points) - 1, "absolute", "both")
    assert len(task().first_turn(last).split()) == 169


def test_pretraining_never_poses_the_task_nor_a_real_rule(settings):
    examples = task().pretraining_examples(settings.skills, 600, 3)
    assert examples == task().pretraining_examples(settings.skills, 600, 3)
    assert {prompt.split()[-1] for prompt, _ in examples} == {"locate", "choose"}
    for prompt, reply in examples:
        turns = prompt.removeprefix("turns ").partition(" facing ")[0].split()
        assert len(set(turns)) == len(turns)
        assert all(set(turns) != set(words) for words in TURN_WORDS.values())
        assert (":" in reply) == prompt.endswith("choose")
        action = reply.partition(" : ")[2]
        if action.startswith("turn "):
            assert action.removeprefix("turn ") in turns
    shown = {word for prompt, _ in examples for word in prompt.split()}
    assert shown >= {*TURN_WORDS["absolute"], *TURN_WORDS["relative"]}


def test_what_is_chosen_in_pretraining_is_the_only_word_of_the_turn_in_the_rule(settings):
    for prompt, reply in task().pretraining_examples(settings.skills, 300, 4):
        _, _, action = reply.partition(" : turn ")
        if not action:
            continue
        listed, _, rest = prompt.removeprefix("turns ").partition(" facing ")
        number = reply.split("sentence ")[1].split()[0]
        sentence = rest.split(f" {number} turn ")[1].split()[:2]
        assert [word for word in sentence if word in listed.split()] == [action]


def test_baselines_by_kind(settings):
    table = task().reference_table(settings.skills)
    assert list(table["world"].unique()) == ["trained", "unseen", "fewer"]
    kinds = table[table["world"] == "trained"].set_index(["rule", "policy", "subset"])["accuracy"]
    for rule in TURN_WORDS:
        for policy, right in (("forward", {"forward"}), ("other_rule", {"forward", "stop"})):
            for kind in ("turn", "forward", "stop"):
                assert kinds[rule, policy, kind] == float(kind in right)
        assert 0.55 < kinds[rule, "forward", "all"] < 0.65  # published: about 60 %
    assert kinds["absolute", "first_turn", "turn"] == pytest.approx(1 / 8, abs=0.02)


def test_rules_can_be_exchanged():
    settings = read_task("navigation", {"id_rule": "relative"})
    assert settings.deal("practice").rule == settings.deal("id_test").rule == "relative"
    assert settings.deal("ood_test").rule == "absolute"
    assert settings.skills == read_task("navigation", {}).skills  # the base stays the same


def test_rule_and_words_can_vary(settings, tables):
    table = tables["practice"]
    varied = task().vary(table, settings.vary(rule="relative", words="heading").deal("practice"))
    assert list(varied["problem"]) == list(table["problem"])
    assert list(varied["gold"]) == list(table["gold_other_rule"])
    for step in task().read(varied.head(20)):
        assert (step.rule, step.words) == ("relative", "heading")
    again = task().vary(varied, settings.deal("practice"))
    pd.testing.assert_frame_equal(again, table)
    for changes, told in (
        ({"legs": [2, 3]}, r"'legs' cannot vary \(allowed: rule, words\)"),
        ({"rule": "north"}, r"rule: 'north' is unknown.*absolute, relative"),
        ({"words": "relative"}, "words: 'relative' does not tell the new heading"),
    ):
        with pytest.raises(UserError, match=told):
            settings.vary(**changes)


def test_relative_words_alone_are_allowed_where_they_tell_the_heading():
    four = {"trained": {"headings": 4}, "words": "relative"}
    settings = read_task("navigation", four | {"problems": SMALL})
    table = deal(settings)["ood_test"]
    assert set(table["gold"]) <= {"turn left", "turn right", "forward", "stop"}
    with pytest.raises(UserError, match="words: 'relative' does not tell"):
        read_task("navigation", four | {"wrap": False})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"words": "relative"}, "words: 'relative' does not tell the new heading"),
        ({"shifts": {"same": {}}}, "shifts.same: is what is trained"),
        ({"shifts": {"a b": {"headings": 4}}}, "'a b' cannot name a split"),
        ({"trained": {"legs": [3, 2]}}, "trained.legs: [3, 2] does not ascend"),
        ({"trained": {"legs": [2, 9]}}, "trained.legs"),
        ({"trained": {"blocks": [0, 2]}}, "trained.blocks"),
        ({"trained": {"headings": 6}}, "trained.headings"),
        ({"id_rule": "north"}, "id_rule"),
        ({"prompt_style": "paper"}, "max_reply_tokens: 16 cuts off replies of prompt_style"),
        ({"max_reply_tokens": 9}, "max_reply_tokens: 9 cuts off replies"),
    ],
)
def test_wrong_settings_are_refused(given, told):
    with pytest.raises(UserError) as caught:
        read_task("navigation", given)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_steps_than_there_are_routes_for_are_refused_before_any_job():
    tiny = {"legs": [1, 1], "headings": 4, "names": "new"}
    with pytest.raises(
        UserError, match="demonstrations asks for 2048 steps and there are routes for"
    ):
        read_task("navigation", {"trained": tiny}).check_supply([0])
    read_task("navigation", {}).check_supply(range(5))


def test_vocabulary_is_small():
    assert len(COMPACT_WORDS) < 128
