"""Every paper on the bench, judged from probes of one study at pico size."""

import pytest

from svdrift.findings.finding import read_findings
from svdrift.findings.paper import paper
from svdrift.plugins import names
from svdrift.study.overlays import read_yaml
from tests.workflow.clones import unquoted

pytestmark = pytest.mark.workflow

PAPERS = names("svdrift.findings.papers")
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
    "papers": list(PAPERS),
}


@pytest.mark.long
def test_every_paper_is_judged(snakemake, clone):
    (clone / "related.yaml").write_text(unquoted(SMALL))
    files = ("tests/workflow/pico.yaml", "related.yaml")
    done = snakemake("--cores", "2", "--configfile", *files, "--", "papers", "probes")
    assert done.returncode == 0, (done.stderr + done.stdout)[-5000:]
    for name in PAPERS:
        folder = clone / "results/pico-related/papers" / name
        findings = read_findings(folder / "findings.csv")
        # Two seeds that never solve anything have no rank correlations to compare.
        assert set(findings["claim"]) <= set(paper(name).claims)
        assert len(findings)
        text = (folder / "README.md").read_text()
        assert text.startswith(f"# {paper(name).title}\n")
        assert all(statement in text for statement in findings["statement"])
        for figure in ("statements", *paper(name).figures):
            assert (folder / f"{figure}.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_has_an_overlay_that_judges_it(clone, name):
    overlay = read_yaml(clone / "experiments/related" / f"{name.replace('_', '-')}.yaml")
    assert name in overlay["papers"]
    assert overlay["study"] == name.replace("_", "-")
    assert len(overlay["seeds"]) >= 5
