"""The graph of stages: its order, ids, data, and every mistake refused in one line."""

from typing import Any

import pytest

from svdrift.checkpoints import Checkpoint
from svdrift.errors import UserError
from svdrift.study.data import Filter, Mixture, Replies, Variant
from svdrift.study.stages import Graph
from tests.study.graphs import (
    AIMLESS,
    BASE,
    LEARN,
    MORE,
    PLAY,
    PPO,
    ROOT,
    SFT,
    SPLITS,
    STAGES,
    graph,
)

REPLIES = {"replies_of": "ppo@end of sft@4", "on": "practice"}
REDISTIL = {"method": LEARN, "from": "base", "on": REPLIES}


def ids(stage: Any) -> list[str]:
    return list(map(str, stage.checkpoints))


def test_stages_follow_what_they_need_and_else_keep_their_order():
    assert list(graph().stages) == ["base", "sft", "ppo", "more"]
    order = list(graph({"aside": {**SFT, "from": "base"}, "late": REDISTIL}).stages)
    assert order == ["base", "sft", "ppo", "more", "aside", "late"]


def test_the_order_of_the_configuration_changes_no_id():
    backwards = Graph(dict(reversed(STAGES.items())), {}, SPLITS)
    assert list(backwards.stages) == ["base", "sft", "ppo", "more"]
    assert ids(backwards) == ids(graph())


def test_ids_and_kept_steps():
    stages = graph().stages
    assert ids(stages["base"]) == ["base"]
    assert ids(stages["sft"]) == ["sft-4", "sft-8", "sft-16"]  # the end is always kept
    assert ids(stages["ppo"]) == ["sft-4.ppo-6", "sft-16.ppo-6"]
    assert ids(stages["more"]) == ["sft-4.more-12", "sft-16.more-12"]  # as many steps as PPO's
    assert ids(graph()) == [id for stage in stages.values() for id in ids(stage)]
    assert list(stages["ppo"].runs) == ["sft-4.ppo", "sft-16.ppo"]
    assert list(stages["sft"].runs) == ["sft"]
    assert list(stages["base"].runs) == ["base"]


def test_steps_at_intervals_from_all_starts_or_some():
    every = graph({"ppo": {**PPO, "keep": {"every": 2}}}).stages["ppo"]
    assert ids(every) == [
        f"{start}.ppo-{step}" for start in ("sft-4", "sft-16") for step in (2, 4, 6)
    ]
    some = graph({"ppo": {**PPO, "keep": {"every": 4, "of": "sft@end"}}}).stages["ppo"]
    assert ids(some) == ["sft-4.ppo-6", "sft-16.ppo-4", "sft-16.ppo-6"]
    both = graph({"ppo": {**PPO, "keep": {"every": 4, "of": ["sft@4", "sft@16"]}}}).stages["ppo"]
    assert len(ids(both)) == 4
    rare = graph({"ppo": {**PPO, "keep": {"every": 60}}}).stages["ppo"]
    assert ids(rare) == ["sft-4.ppo-6", "sft-16.ppo-6"]


def test_a_chain_of_any_depth():
    sft2 = {"method": LEARN, "from": "ppo@end of sft@4", "on": "lessons", "keep": [2]}
    ppo2 = {"method": PLAY, "from": "sft2@2", "on": "practice"}
    sft3 = {"method": LEARN, "from": "ppo2@end", "on": "lessons"}
    chain = graph({"sft2": sft2, "ppo2": ppo2, "sft3": sft3})
    assert ids(chain.stages["sft3"]) == ["sft-4.ppo-6.sft2-2.ppo2-6.sft3-16"]
    for checkpoint in chain.checkpoints:
        assert Checkpoint.parse(str(checkpoint)) == checkpoint
        assert chain.resolve("test", chain.reference(str(checkpoint))) == checkpoint
        assert chain.maker(checkpoint).name == checkpoint.stage


def test_several_roots():
    other = {"method": ROOT, "size": 2}
    both = {**SFT, "from": ["base", "other"]}
    roots = graph({"other": other, "sft": both, "ppo": {**PPO, "from": "sft@4 of other"}})
    assert ids(roots.stages["sft"])[:4] == ["sft-4", "sft-8", "sft-16", "other.sft-4"]
    assert list(roots.stages["sft"].runs) == ["sft", "other.sft"]
    assert ids(roots.stages["ppo"]) == ["other.sft-4.ppo-6"]
    assert roots.reference("other.sft-4") == "sft@4 of other"


def test_null_removes_a_stage_and_data():
    small = graph({"ppo": None, "more": None}, {"unused": None})
    assert list(small.stages) == ["base", "sft"]
    assert small.data == {}


def test_data_of_every_kind():
    data = {
        "replay": {"mix": {"lessons": 0.5, "own": 0.5}},
        "own": REPLIES,
        "hard": {"on": "practice", "pass_rate": {"of": "sft@4", "at_most": 0.5}},
        "turned": {"on": "lessons", "rule": "faces"},
    }
    made = graph({"late": {**REDISTIL, "on": "replay"}, "kept": REDISTIL}, data)
    assert [type(made.data[name]) for name in (*data, "kept")] == [
        Mixture,
        Replies,
        Filter,
        Variant,
        Replies,
    ]
    assert made.stages["late"].data == "replay"
    assert made.stages["kept"].data == "kept"  # described in place: named after its stage
    assert made.leaves("replay") == ("lessons", "practice")
    assert made.stages["base"].data is None
    assert list(made.stages).index("late") > list(made.stages).index("ppo")


def changed(stage: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {**stage, **{key.rstrip("_"): value for key, value in keys.items()}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # The graph.
        (
            {"sft": changed(SFT, from_="ppo@end")},
            "stages: a circle, in which each needs the next: ",
        ),
        ({"sft": changed(SFT, from_="sft@4")}, "each needs the next: sft -> sft"),
        (
            {"sft": changed(SFT, on={"replies_of": "ppo@end", "on": "lessons"})},
            "stages: a circle",
        ),
        ({"ppo": changed(PPO, from_="starts of ppo")}, "stages: a circle"),
        ({"sft": None}, "stages.ppo.from: there is no stage 'sft' (stages: base, ppo, more)"),
        ({"ppo": None}, "stages.more.matches: there is no stage 'ppo'"),
        ({"more": changed(MORE, from_="sft@4", matches="pppo")}, "stages.more.matches: there is"),
        (
            {"late": changed(REDISTIL, on={"replies_of": "dpo@end", "on": "lessons"})},
            "stages.late.on: there is no stage 'dpo'",
        ),
        # Names.
        ({"last": SFT}, "stages.last: not a name of a stage"),
        ({"anchor": SFT}, "stages.anchor: not a name of a stage"),
        ({"start": SFT}, "stages.start: not a name of a stage"),
        ({"end": SFT}, "stages.end: not a name of a stage"),
        ({"starts": SFT}, "stages.starts: not a name of a stage"),
        ({"a-b": SFT}, "stages.a-b: not a name of a stage"),
        ({"2nd": SFT}, "stages.2nd: not a name of a stage"),
        ({"lessons": REDISTIL}, "stages.lessons.on: the name 'lessons' is taken"),
        # Keys.
        ({"sft": "sft"}, "stages.sft: must be a mapping with a method, not 'sft'"),
        ({"sft": {"from": "base"}}, "key 'stages.sft.method' is missing"),
        ({"sft": changed(SFT, method="magic")}, "stages.sft.method: 'magic' is unknown (allowed: "),
        ({"sft": changed(SFT, method="magic.py")}, "stages.sft.method: magic.py: no such file"),
        ({"sft": changed(SFT, step=3)}, "unknown key 'stages.sft.step', did you mean 'steps'?"),
        ({"sft": {**SFT, "form": "base"}}, "unknown key 'stages.sft.form', did you mean 'from'?"),
        ({"sft": changed(SFT, steps="many")}, "key 'stages.sft.steps' must be a whole number"),
        # From.
        ({"sft": changed(SFT, from_=None)}, "stages.sft.from: is missing or empty"),
        ({"sft": changed(SFT, from_=[])}, "stages.sft.from: is missing or empty"),
        ({"base": changed(BASE, from_="sft@4")}, "stages: a circle"),
        ({"more": changed(BASE, from_="sft@4")}, "stages.more.from: Root makes a model and starts"),
        ({"ppo": changed(PPO, from_="sft")}, "stages.ppo.from: sft: which step? (such as sft@end)"),
        ({"ppo": changed(PPO, from_="sft@5")}, "sft@5: step 5 is not kept (kept: 4, 8, 16; see"),
        ({"ppo": changed(PPO, from_="sft-4")}, "stages.ppo.from: 'sft-4' is not a reference"),
        ({"ppo": changed(PPO, from_="base@1")}, "base@1: base has one checkpoint; name it alone"),
        (
            {"ppo": changed(PPO, from_=["sft@16", "sft@end"])},
            "stages.ppo.from: names one checkpoint twice: sft-16, sft-16",
        ),
        (
            {"more": changed(MORE, from_=["starts of ppo", "sft@4"])},
            "stages.more.from: names one checkpoint twice",
        ),
        (
            {"more": changed(MORE, from_="ppo@end")},
            "stages.more.from: ppo@end: ppo has several starts; add `of` one of sft-4, sft-16",
        ),
        (
            {"more": changed(MORE, from_="ppo@end of sft@8")},
            "stages.more.from: ppo does not start from sft-8 (its starts: sft-4, sft-16)",
        ),
        # On.
        ({"sft": changed(SFT, on=None)}, "stages.sft.on: is missing; name a split or data"),
        ({"sft": changed(SFT, on="lesson")}, "stages.sft.on: 'lesson' is neither a split of the"),
        ({"base": changed(BASE, on="lessons")}, "stages.base.on: Root learns from no problems"),
        ({"sft": changed(SFT, on={})}, "stages.sft.on: {} (allowed: a name, or a mapping with"),
        (
            {"late": changed(REDISTIL, on={**REPLIES, "mix": {"lessons": 1}})},
            "stages.late.on: replies_of and mix are different kinds of data; name one",
        ),
        (
            {"late": changed(REDISTIL, on={**REPLIES, "replies_of": "ppo@end"})},
            "stages.late.on: ppo@end: ppo has several starts",
        ),
        (
            {"late": changed(REDISTIL, on={**REPLIES, "on": "late"})},
            "stages.late.on: it is made from itself",
        ),
        (
            {"late": changed(REDISTIL, on={**REPLIES, "sample": 3})},
            "unknown key 'stages.late.on.sample', did you mean 'samples'?",
        ),
        (
            {"late": changed(REDISTIL, on={**REPLIES, "samples": 4})},
            "stages.late.on.samples: several greedy replies are all alike",
        ),
        (
            {"late": changed(REDISTIL, on={"mix": {"lessons": 0.5}})},
            "stages.late.on.mix: shares must be above 0 and add up to 1",
        ),
        (
            {
                "late": changed(
                    REDISTIL,
                    on={
                        "on": "lessons",
                        "pass_rate": {"of": "sft@4", "at_least": 0.5, "at_most": 0.1},
                    },
                )
            },
            "stages.late.on.pass_rate.at_least: 0.5 lies above at_most 0.1",
        ),
        # Keep.
        ({"sft": changed(SFT, keep=[4, 99])}, "stages.sft.keep: step 99 is not between 1 and 16"),
        ({"sft": changed(SFT, keep=[8, 4])}, "stages.sft.keep: must be a rising list of steps"),
        ({"sft": changed(SFT, keep=4)}, "stages.sft.keep: must be a list of steps, or {every: N}"),
        ({"sft": changed(SFT, keep={"evry": 4})}, "unknown key 'stages.sft.keep.evry', did you"),
        ({"sft": changed(SFT, keep={"every": 0})}, "key 'stages.sft.keep.every' must be above 0"),
        ({"base": changed(BASE, keep=[1])}, "stages.base.keep: Root keeps one checkpoint, its end"),
        (
            {"ppo": changed(PPO, keep={"every": 2, "of": "sft@8"})},
            "stages.ppo.keep.of: sft-8 is not among its starts (sft-4, sft-16)",
        ),
        # Matches.
        (
            {"more": changed(MORE, steps=3)},
            "stages.more.steps: follows from matches: ppo; leave one out",
        ),
        (
            {"more": changed(MORE, method=PLAY)},
            "stages.more.matches: ppo: this method cannot match another one",
        ),
        (
            {"ppo": changed(PPO, method=AIMLESS)},
            "stages.more.matches: ppo: it has no budget to match",
        ),
    ],
)
def test_a_wrong_stage_is_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as caught:
        graph(changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": {"mix": {"a": 1}}}, "data.a: it is made from itself"),
        ({"a": {"mix": {"b": 1}}, "b": {"mix": {"a": 1}}}, "it is made from itself"),
        ({"a": {"mix": {"nothing": 1}}}, "data.a: 'nothing' is neither a split of the task nor"),
        ({"a": {"on": "lessons"}}, "data.a: {'on': 'lessons'} (allowed: a name, or a mapping"),
        ({"a": {"rule": "faces"}}, "key 'data.a.on' is missing"),
        ({"sft": REPLIES}, "data.sft: the name 'sft' is taken by a split, a stage or other data"),
        ({"practice": REPLIES}, "data.practice: the name 'practice' is taken"),
        ({"a/b": REPLIES}, "data.a/b: not a name of data"),
        (
            {"a": {**REPLIES, "replies_of": "dpo@end"}},
            "data.a: there is no stage 'dpo', did you mean 'ppo'? (stages: ",
        ),
        ({"a": {**REPLIES, "replies_of": "ppo-6"}}, "data.a: 'ppo-6' is not a reference to a"),
        ({"a": {**REPLIES, "replies_of": "sft@5"}}, "data.a: sft@5: step 5 is not kept"),
        ({"a": {**REPLIES, "temperature": -1}}, "key 'data.a.temperature' must be at least 0"),
    ],
)
def test_wrong_data_is_refused_in_one_line(data, message):
    with pytest.raises(UserError) as caught:
        graph(data=data)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense of", "story.moderate: 'nonsense of' is not a reference to a checkpoint"),
        (
            "dpo@end",
            "story.moderate: there is no stage 'dpo', did you mean 'ppo'? (stages: base, sft, ppo,",
        ),
        ("base of sft@4", "story.moderate: base of sft@4: base has one checkpoint"),
        ("more@end", "more has several starts"),
    ],
)
def test_a_reference_from_elsewhere_is_refused_with_its_key(text, message):
    with pytest.raises(UserError) as caught:
        graph().resolve("story.moderate", text)
    assert message in str(caught.value)
