"""`svdrift status` on what Snakemake prints; tests/workflow runs it on a real study."""

import pytest

from svdrift.cli.status import duration, explain, planned, read_plan, status_table
from svdrift.errors import UserError

SAID = """Building DAG of jobs...
[Tue Nov 24 08:17:24 2026]
localrule collect:
    input: a/1.parquet, a/2.parquet
    output: tables/all.parquet
    jobid: 7
    benchmark: {folder}/collect.tsv
    reason: Missing output files: x; Input files updated by another job: a/1.parquet
    resources: tmpdir=/tmp

[Tue Nov 24 08:17:24 2026] Group job short (jobs in lexicogr. order):

    [Tue Nov 24 08:17:24 2026]
    rule play:
        input: model
        output: a/1.parquet, b/1.parquet
        reason: Params have changed since last execution: before: x; now: y
        wildcards: checkpoint=1
rule all:
    input: tables/all.parquet
    reason: Input files updated by another job: tables/all.parquet
Job stats:
job      count
-----  -------
all          1
"""
OTHER = "rule play:\n    input: model\n    output: a/2.parquet\n    reason: Forced execution\n\n"


def test_jobs_are_read_from_a_dry_run():
    jobs = read_plan(SAID)
    assert [job.rule for job in jobs] == ["collect", "play"]  # `all` makes nothing
    assert jobs[1].outputs == ("a/1.parquet", "b/1.parquet")
    assert jobs[1].inputs == ("model",)
    assert jobs[1].benchmark is None


def test_status_counts_jobs_in_the_order_of_the_work(tmp_path):
    (tmp_path / "collect.tsv").write_text("s\th:m:s\n61.5\t0:01:01\n")
    said = SAID.format(folder=tmp_path)
    play, collect = read_plan(said)[1], read_plan(said)[0]
    lines = status_table(read_plan(said), [play, *read_plan(OTHER), collect]).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["play", "1", "1"],
        ["collect", "0", "1"],
        ["all", "1", "2"],
    ]
    assert lines[1].split(maxsplit=4)[3:] == ["-", "its settings or code changed"]
    assert lines[2].endswith("62 s  not made yet")
    assert lines[3].endswith("62 s")


def test_a_reason_is_a_jobs_own_or_that_it_follows():
    follows = "Input files updated by another job: a"
    assert explain(follows) == ["follows an earlier job"]
    assert explain(f"Missing output files: b; {follows}") == ["not made yet"]
    assert explain("Code has changed since last execution; Updated input files: x") == [
        "an input is newer",
        "its rule changed",
    ]
    assert explain("Something new: c") == ["Something new"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [([], "-"), ([1.2, 3.0], "4 s"), ([150.0], "2 min"), ([3600.0, 300.0], "1 h 05 min")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_a_study_that_is_not_yaml_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "broken.yaml").write_text("sft: {steps: 3")
    with pytest.raises(
        UserError, match=r"broken\.yaml: not YAML: while parsing .* line 1"
    ) as refused:
        planned(tmp_path / "broken.yaml")
    assert "\n" not in str(refused.value)
