"""`svdrift status` on what Snakemake's summary says; tests/workflow runs it on a real study."""

import csv

import pytest

from svdrift.cli import status
from svdrift.cli.status import status_table, summary, to_make
from svdrift.cli.text import duration, last_time
from svdrift.errors import UserError

SUMMARY = """\
output_file\tdate\trule\tlog-file(s)\tstatus\tplan
m/1\tWed Nov 25\ttrain\tr/logs/train/1.log\tok\tno update
m/1.parquet\tWed Nov 25\ttrain\tr/logs/train/1.log\tok\tno update
m/2\tWed Nov 25\ttrain\tr/logs/train/2.log\tparams changed\tupdate pending
m/2.parquet\tWed Nov 25\ttrain\tr/logs/train/2.log\tparams changed\tupdate pending
m/3\t-\ttrain\t-\tmissing\tupdate pending
p/1\tWed Nov 25\tplay\tr/logs/play/1.log\tok\tupdate pending
p/2\tWed Nov 25\tplay\t-\tparams changed\tno update
new\t-\tplot\t-\tsomething "new\tupdate pending
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for job, seconds in {"train/1": 61.5, "train/2": 30, "play/1": 8}.items():
        file = tmp_path / f"r/benchmarks/{job}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\n{seconds}\t0:01:01\n")
    return list(csv.DictReader(SUMMARY.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_files_are_counted_by_rule_and_jobs_timed_once(files):
    table = status_table(files).splitlines()
    rows = [line.split(maxsplit=5) for line in table[1:5]]
    assert rows[0] == ["train", "2", "3", "92", "s", "its settings or code changed, not made yet"]
    assert rows[1] == ["play", "1", "1", "8", "s", "follows an earlier job"]
    assert table[3].split(maxsplit=4) == ["plot", "0", "1", "-", 'something "new']
    assert rows[3] == ["all", "3", "5", "100", "s"] or rows[3][:3] == ["all", "3", "5"]


def test_what_is_still_to_run_is_totalled(files):
    assert status_table(files).splitlines()[-1] == "Still to run, as long as last time: 38 s"
    done = [file for file in files if not to_make(file)]
    assert status_table(done).splitlines()[-1].endswith(": -")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [([], "-"), ([1.2, 3.0], "4 s"), ([150.0], "2 min"), ([3600.0, 300.0], "1 h 05 min")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_a_job_that_never_ran_has_no_time(tmp_path):
    assert last_time(tmp_path / "none.tsv") == []


def test_a_study_that_is_not_yaml_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="Snakefile: not in this folder"):
        summary(None)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "broken.yaml").write_text("sft: {steps: 3")
    with pytest.raises(UserError, match=r"broken\.yaml: line \d: not YAML: ") as refused:
        summary(tmp_path / "broken.yaml")
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="No such file"):
        summary(tmp_path / "missing.yaml")


def test_a_rule_without_a_log_has_no_time():
    """Such as the one that writes the resolved configuration."""
    file = {"rule": "configuration", "log-file(s)": "", "status": "ok", "plan": "no update"}
    assert status.last_times([file]) == []
