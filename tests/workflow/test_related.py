"""Every paper on the bench at pico size: one study for those that look at the default study's
checkpoints, and for those that compare arms of their own their overlays.
"""

import re
from typing import Any

import pytest

from svdrift.findings.finding import read_findings
from svdrift.findings.paper import paper
from svdrift.plugins import names
from svdrift.study.overlays import read_yaml
from tests.workflow.clones import unquoted

pytestmark = pytest.mark.workflow

PAPERS = names("svdrift.findings.papers")
LOOKING = [name for name in PAPERS if not paper(name).arms]
ALWAYS = "rpsft"  # of those with arms: runs in every test
SMALL = {
    "study": "pico-related",
    "seeds": [0, 1],
    "stages": {
        "sft": {"keep": [4, 16, 64]},
        "ppo": {"from": ["sft@4", "sft@16", "sft@64"]},
        "continued": {"method": "sft", "from": "starts of ppo", "on": "demonstrations"},
        "permuted": {
            "method": "ppo",
            "from": "starts of ppo",
            "on": "practice",
            "matches": "ppo",
            "permute_rewards": True,
        },
        "after": {
            "method": "sft",
            "from": ["ppo@end of sft@4", "ppo@end of sft@16", "ppo@end of sft@64"],
            "on": "demonstrations",
            "matches": "ppo",
        },
        "after_own": {
            "method": "sft",
            "from": "ppo@end of sft@16",
            # None of them would be right: the model has learned next to nothing.
            "on": {
                "replies_of": "ppo@end of sft@16",
                "on": "practice",
                "samples": 2,
                "temperature": 1.0,
                "verified": False,
            },
            "matches": "ppo",
        },
    },
    "story": {
        "peak": "sft@4",
        "moderate": "sft@16",
        "controls": ["continued"],
        "rl_null": "permuted",
        "after": ["after", "after_own"],
    },
    "probes": {
        "seen": {"kind": "scores", "of": "all"},
        "lost": {
            "kind": "losses",
            "of": "all",
            "on": ["id_selection", "ood_selection", "id_test", "ood_test"],
            "count": 4,
        },
        "helped": {"kind": "given", "of": "all", "count": 6},
        "drawn": {
            "kind": "samples",
            "of": "all",
            "on": ["id_selection", "ood_selection", "id_test", "ood_test"],
            "samples": 8,
            "count": 4,
        },
        "space": {"kind": "function_space", "peak": "sft@4", "count": 6},
    },
    "ranks": {
        "repair": {
            "task": "repair",
            "target": "last",
            "anchor": "anchor",
            "cost": 0.2,
            "evaluations": 40,
            "count": 4,
        },
        "keep": {
            "task": "keep",
            "target": "anchor",
            "cost": 0.7,
            "score": "likelihood",
            "evaluations": 40,
            "count": 4,
        },
    },
    "papers": LOOKING,
}


@pytest.mark.long
def test_every_paper_is_judged(snakemake, clone):
    (clone / "related.yaml").write_text(unquoted(SMALL))
    files = ("tests/workflow/pico.yaml", "related.yaml")
    done = snakemake("--cores", "2", "--configfile", *files, "--", "papers", "probes")
    assert done.returncode == 0, (done.stderr + done.stdout)[-5000:]
    for name in LOOKING:
        findings = judged(clone / "results/pico-related/papers" / name, name)
        # Two seeds that never solve anything have no rank correlations to compare.
        assert set(findings["claim"]) <= set(paper(name).claims)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == ALWAYS else pytest.mark.long)
        for name in PAPERS
        if name not in LOOKING
    ],
)
def test_a_paper_with_arms_is_judged_by_its_overlay(snakemake, clone, name):
    overlay = f"experiments/related/{name.replace('_', '-')}.yaml"
    (clone / "small.yaml").write_text(unquoted(shrunk(read_yaml(clone / overlay))))
    files = ("tests/workflow/pico.yaml", overlay, "small.yaml")
    done = snakemake("--cores", "2", "--configfile", *files, "--", "papers")
    assert done.returncode == 0, (done.stderr + done.stdout)[-5000:]
    findings = judged(clone / "results/pico-arms/papers" / name, name)
    assert set(findings["claim"]) == set(paper(name).claims)


SMALL_RL = {"updates": 2, "episodes": 8, "minibatch_size": 8, "epochs": 1}
SMALLER = {
    "sft": {"steps": 4, "batch_size": 4, "micro_batch_size": 4, "warmup_steps": 2, "keep": []},
    "ppo": SMALL_RL | {"keep": []},
    "grpo": SMALL_RL | {"episodes": 16, "group_size": 4, "keep": []},
}


def smaller(stage: dict[str, Any]) -> dict[str, Any]:
    """What makes a stage small; one that matches another one copies it."""
    if "matches" in stage:
        return {}
    found = dict(SMALLER[stage["method"]])
    if "sampler" in stage:
        rounds = {"rounds": 2} if "rounds" in stage["sampler"] else {}
        found["sampler"] = {"count": 8, **rounds}
    if "guidance" in stage:
        found["guidance"] = {"rollouts": [1, 1, 1, 1]}
        if stage["guidance"]["loss"] == "scaled_nll":  # which takes whole steps
            found["micro_batch_size"] = found["minibatch_size"]
    if "rank" in stage.get("loss", {}):
        found["loss"] = {"rank": 4}
    return found


def first_of(row: dict[str, Any]) -> dict[str, Any]:
    """The first intervention of a row of a grid."""
    return {key: value[0] if isinstance(value, list) else value for key, value in row.items()}


def shrunk(overlay: dict[str, Any]) -> dict[str, Any]:
    """What makes an overlay small: short stages that keep their ends, and data from any reply,
    since a model of this size solves nothing.
    """
    own = {name: stage for name, stage in overlay["stages"].items() if (stage or {}).get("method")}
    data: dict[str, Any] = {}
    for name, made in overlay.get("data", {}).items():
        if "replies_of" in made:
            data[name] = {"verified": False, "samples": 2}
        elif "pass_rate" in made:
            data[name] = {"pass_rate": {"at_least": 0.0, "at_most": 1.0, "samples": 2}}
        elif "count" in made:
            data[name] = {"count": 4}
    grid = overlay["recovery"].get("interventions", [])
    return {
        "study": "pico-arms",
        "seeds": [0, 1],
        "recovery": {"interventions": [first_of(row) for row in grid]},
        "stages": {"sft": {"keep": [4, 16, 32, 64]}}  # which the small study thins out
        | {name: smaller(stage) for name, stage in own.items()},
        "data": data,
        "story": {
            "arms": {
                arm: re.sub(r"(\w+)@\d+", lambda m: f"{m[1]}@end" if m[1] in own else m[0], of)
                for arm, of in overlay["story"]["arms"].items()
            }
        },
    }


def judged(folder, name):
    """The findings of a paper, whose page and figures are there."""
    findings = read_findings(folder / "findings.csv")
    assert len(findings)
    text = (folder / "README.md").read_text()
    assert text.startswith(f"# {paper(name).title}\n")
    assert all(statement in text for statement in findings["statement"])
    for figure in ("statements", *paper(name).figures):
        assert (folder / f"{figure}.png").stat().st_size > 10_000
    return findings


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_has_an_overlay_that_judges_it(clone, name):
    overlay = read_yaml(clone / "experiments/related" / f"{name.replace('_', '-')}.yaml")
    assert name in overlay["papers"]
    assert overlay["study"] == name.replace("_", "-")
    assert len(overlay["seeds"]) == (3 if name == "acereason" else 5)  # one takes long
