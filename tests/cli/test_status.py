"""`svdrift status` on what Snakemake says of jobs; tests/workflow runs it on a real study."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from svdrift.cli.status import (
    Job,
    Times,
    asked,
    computed,
    in_store,
    in_training,
    jobs_of,
    left_in_words,
    status_table,
)
from svdrift.cli.text import duration, last_time
from svdrift.errors import UserError
from svdrift.live import FILE, LiveMetrics
from svdrift.store import Ask, key_of, produce


def job(name: str, why: str = "", command: str = "", study: str = "r") -> Job:
    """A job such as `train/1`, which makes a file of that name."""
    rule = name.partition("/")[0]
    log = f"results/{study}/logs/seed-0/{name}.log"
    benchmark = f"results/{study}/benchmarks/seed-0/{name}.tsv"
    return Job(rule, bool(why), why, log, benchmark, [f"results/{study}/{name}"], command)


@pytest.fixture
def timed(tmp_path, monkeypatch):
    """Make benchmarks: study/job to seconds; with a log that says it was reused where asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SVDRIFT_STORE", raising=False)

    def make(seconds: dict[str, float], reused: tuple[str, ...] = ()) -> None:
        for name, second in seconds.items():
            study, _, own = name.partition("/")
            file = Path("results", study, "benchmarks/seed-0", f"{own}.tsv")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"s\th:m:s\n{second}\t0:01:01\n")
            log = Path("results", study, "logs/seed-0", f"{own}.log")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("reused from results/.store/ab\n" if name in reused else "done\n")

    return make


JOBS = [
    job("train/1"),
    job("train/2", "its settings or code changed"),
    job("train/3", "not made yet"),
    job("play/1", "follows an earlier job"),
    job("plot/1", 'something "new'),
    Job("configuration", False, "", "", "", ["r/configuration.json"], ""),
]


def test_jobs_are_counted_by_rule(timed):
    timed({"r/train/1": 61.5, "r/train/2": 30, "r/play/1": 8})
    table = status_table(JOBS, {"results/r/train/3"}, Times(JOBS)).splitlines()
    rows = [line.split(maxsplit=6) for line in table[1:]]
    reasons = "its settings or code changed, not made yet"
    assert rows[0] == ["train", "1", "2", "1", "92", "s", reasons]
    assert rows[1] == ["play", "0", "1", "0", "8", "s", "follows an earlier job"]
    assert table[3].split(maxsplit=5) == ["plot", "0", "1", "0", "-", 'something "new']
    assert table[4].split() == ["configuration", "1", "0", "-"]
    assert rows[4] == ["all", "2", "4", "1", "100", "s"] or rows[4][:4] == ["all", "2", "4", "1"]


@pytest.mark.parametrize(
    ("seconds", "reused", "expected"),
    [
        ({"r/train/2": 30, "r/train/1": 90, "other/train/2": 5}, (), 30),  # as it last took
        ({"r/train/1": 90, "other/train/2": 5}, (), 5),  # the same job of another study
        ({"r/train/1": 90, "r/train/4": 30}, (), 60),  # jobs of its kind
        ({"r/train/2": 1, "r/train/1": 90}, ("r/train/2",), 90),  # one that the store served
        ({"r/play/1": 90}, (), None),
        ({}, (), None),
    ],
)
def test_a_job_takes_as_long_as_the_nearest_one_that_was_timed(timed, seconds, reused, expected):
    timed(seconds, reused)
    assert Times(JOBS).expected(job("train/2")) == expected


@pytest.mark.parametrize(
    ("jobs", "stored", "cores", "says"),
    [
        ([job("train/1")], (), 2, "Nothing is left to run."),
        (
            JOBS,
            ("results/r/train/3",),
            2,
            "4 of 6 jobs are left; the store serves 1 of them. The rest computes for 38 s: "
            "30 s or more on 2 cores, by the times of finished jobs (1 were never timed and are "
            "not counted).",
        ),
        (
            [job("train/1", "x"), job("train/2", "x")],
            (),
            4,
            "2 of 2 jobs are left. They compute for 92 s: 62 s or more on 4 cores, by the "
            "times of finished jobs.",
        ),
        (
            [job("train/1", "x"), job("train/2", "x"), job("play/1", "x")],
            (),
            1,
            "3 of 3 jobs are left. They compute for 100 s: 100 s or more on 1 cores, by "
            "the times of finished jobs.",
        ),
        ([job("plot/1", "x")], (), 2, "1 of 1 jobs are left. No job like them was timed"),
    ],
)
def test_what_is_left_is_said_in_all(timed, monkeypatch, jobs, stored, cores, says):
    timed({"r/train/1": 62, "r/train/2": 30, "r/play/1": 8})
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert says in left_in_words(jobs, set(stored), Times(jobs)).replace("2 min", "100 s")


def test_what_is_in_training_is_shown_with_its_last_metrics(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snapshots = Path("results/r/seed-0/snapshots")
    LiveMetrics(snapshots / "sft" / "old").append({"step": 9, "train_loss": 0.1, "grad_norm": 1.0})
    os.utime(snapshots / "sft" / "old" / FILE, (0, 0))  # of other settings
    live = LiveMetrics(snapshots / "sft" / "new")
    for step in (1, 2):
        live.append({"step": step, "train_loss": 0.123456 / step, "grad_norm": 1.0})
    LiveMetrics(snapshots / "sft-64.ppo" / "key").append({"update": 7, "reward_mean": -0.5})
    minute = time.time() - 60
    os.utime(snapshots / "sft-64.ppo" / "key" / FILE, (minute, minute))
    LiveMetrics(snapshots / "begun" / "key").begin()
    LiveMetrics(Path("results/other/seed-0/snapshots/sft/key")).append({"step": 1, "loss": 1.0})
    sft, ppo = in_training(JOBS)
    where = snapshots / "sft" / "new" / FILE
    assert re.fullmatch(
        rf"In training: seed-0 sft, step 2, train_loss 0.061728, \d s ago \({where}\)", sft
    )
    assert re.match(r"In training: seed-0 sft-64.ppo, update 7, reward_mean -0.5, 6\d s ago", ppo)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("python scripts/plot.py --out x", None),
        (
            "workflow/logged.sh l 1 python scripts/reuse.py --key k 0 '{\"a\": 1}' --inputs a 'b c'"
            " --outputs o p -- python scripts/train.py --key z -- 3",
            Ask(["k", "0", '{"a": 1}'], [Path("a"), Path("b c")], [Path("o"), Path("p")]),
        ),
        (
            "python scripts/reuse.py --key k --inputs --outputs o -- x",
            Ask(["k"], [], [Path("o")]),
        ),
        (
            "scripts/reuse.py --key k --inputs a --candidates b c --choice d --outputs o -- x",
            Ask(["k"], [Path("a")], [Path("o")], (Path("b"), Path("c")), Path("d")),
        ),
        (
            "kept=run/models/4; if test -d $kept; then python scripts/keep.py --out o; else "
            "python scripts/reuse.py --key k --inputs a --outputs o -- x; fi",
            Ask(["k"], [Path("a")], [Path("o")], kept=Path("run/models/4")),
        ),
    ],
)
def test_what_a_job_asks_the_store_is_read_from_its_command(command, found):
    assert asked(command) == found


def stored_job(name: str, inputs: str, key: str, before: str = "") -> Job:
    command = (
        f"{before}python scripts/reuse.py --key {key} --inputs {inputs} --outputs {name} -- make"
    )
    return Job("rule", True, "not made yet", "", "", [name], command)


def test_the_store_is_asked_through_a_chain_of_jobs(timed):
    """The second job's input is the first one's output, which is not there but in the store."""
    Path("a").write_text("start")
    made = {"b": ("a", "first"), "c": ("b", "second")}
    for name, (source, key) in made.items():

        def make(name: str = name) -> int:
            Path(name).write_text(f"made {name}")
            return 0

        store, text = Path("results/.store"), []
        produce(store, key_of([key], [Path(source)]), [Path(name)], make, text.append)
    for name in made:
        Path(name).unlink()
    jobs = [
        stored_job("b", "a", "first"),
        stored_job("c", "b", "second"),
        stored_job("d", "b", "other"),
        stored_job("e", "d", "second"),  # d is not known before it is made
        Job("plot", True, "x", "", "", ["f"], "python scripts/plot.py"),
    ]
    assert in_store(jobs) == {"b", "c"}
    Path("b").write_text("an old one, which would be made anew")
    assert in_store(jobs) == {"b", "c"}
    Path("a").write_text("another start")
    assert in_store(jobs) == set()


def test_a_checkpoint_that_a_run_kept_is_linked_from_the_stored_run(timed):
    """And what is made of it is found by its contents there."""
    Path("a").write_text("start")
    store, text = Path("results/.store"), []

    def train() -> int:
        Path("run/models/4").mkdir(parents=True)
        Path("run/models/4/weights").write_text("trained")
        return 0

    def evaluate() -> int:
        Path("accuracy").write_text("0.5")
        return 0

    produce(store, key_of(["train"], [Path("a")]), [Path("run/models")], train, text.append)
    key = key_of(["evaluate"], [Path("run/models/4")])
    produce(store, key, [Path("accuracy")], evaluate, text.append)
    jobs = [
        stored_job("again/models", "a", "train"),
        stored_job("kept", "a", "other", "kept=again/models/4; if "),
        stored_job("lost", "a", "other", "kept=again/models/8; if "),
        stored_job("new", "kept", "evaluate"),
    ]
    assert in_store(jobs) == {"again/models", "kept", "new"}


def test_large_inputs_are_not_read(timed, monkeypatch):
    Path("a").write_text("start")
    key = key_of(["first"], [Path("a")])
    produce(Path("results/.store"), key, [Path("a")], lambda: 0, lambda line: None)
    jobs = [stored_job("b", "a", "first")]
    assert in_store(jobs) == {"b"}
    monkeypatch.setattr("svdrift.cli.status.HASHED", 4)
    assert in_store(jobs) == set()


def test_a_store_that_is_off_serves_nothing(timed, monkeypatch):
    monkeypatch.setenv("SVDRIFT_STORE", "")
    assert in_store([stored_job("b", "a", "first")]) == set()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [([], "-"), ([1.2, 3.0], "4 s"), ([150.0], "2 min"), ([3600.0, 300.0], "1 h 05 min")],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_a_job_that_never_ran_has_no_time(tmp_path):
    assert last_time(tmp_path / "none.tsv") == []
    assert computed(tmp_path / "none.tsv") == []


def test_a_study_that_is_not_yaml_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="Snakefile: not in this folder"):
        jobs_of(None)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "broken.yaml").write_text("sft: {steps: 3")
    with pytest.raises(UserError, match=r"broken\.yaml: line \d: not YAML: ") as refused:
        jobs_of(tmp_path / "broken.yaml")
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="No such file"):
        jobs_of(tmp_path / "missing.yaml")
