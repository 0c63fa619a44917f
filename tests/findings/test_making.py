"""How a study was made: commits, machines, dates and costs, from provenance and benchmarks."""

import pytest

from svdrift.findings.making import UNKNOWN, clock, costs, origins

CPU = {"cpu": "AMD EPYC", "cores": 2, "gpu": None}


def record(commit, started, hardware=CPU):
    return {"commit": commit, "started": started, "hardware": hardware}


def test_origins_count_commits_and_machines_and_name_dirty_ones():
    found = origins(
        [
            record("abc", "2026-11-26T10:18:27+00:00"),
            record("abc-dirty", "2026-11-25T09:00:01+00:00"),
            record(None, "2026-11-26T09:30:00+00:00", CPU | {"gpu": "NVIDIA H200"}),
        ]
    )
    assert found.commits == {"abc": 1, "abc-dirty": 1, UNKNOWN: 1}
    assert found.dirty == ["abc-dirty"]
    assert found.machines["AMD EPYC, 2 cores; no GPU used"] == 2
    assert found.machines["AMD EPYC, 2 cores; NVIDIA H200"] == 1
    assert (found.first, found.last) == ("2026-11-25 09:00", "2026-11-26 10:18")


def test_nothing_has_no_origins():
    assert origins([]).first == ""
    assert not origins([]).commits


def test_costs_are_summed_by_stage_and_the_store_costs_nothing(tmp_path):
    jobs = {  # seconds, and the log
        "seed-0/train/sft.tsv": (100.0, "training\n"),
        "seed-0/train/sft-64.ppo.tsv": (30.0, ""),
        "seed-1/train/sft-64.ppo.tsv": (50.0, ""),
        "seed-1/train/sft.tsv": (1.0, "reused from results/.store/ab, made as sft\n"),
        "seed-0/evaluate/sft-64.tsv": (5.0, "attempt 2, with more\nreused from results/.store\n"),
        "plot_stages.tsv": (2.0, ""),
        "plot_rl_effect.tsv": (3.0, ""),
        "measure_recovery.tsv": (4.0, ""),
    }
    for name, (seconds, said) in jobs.items():
        benchmark, log = tmp_path / "benchmarks" / name, (tmp_path / "logs" / name)
        for path in (benchmark, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
        log.with_suffix(".log").write_text(said)
    found = costs(tmp_path / "benchmarks", tmp_path / "logs")
    assert {name: (c.jobs, c.reused, c.total, c.longest) for name, c in found.items()} == {
        "train sft": (2, 1, 100.0, 100.0),
        "train ppo": (2, 0, 80.0, 50.0),
        "plot": (2, 0, 5.0, 3.0),
        "measure recovery": (1, 0, 4.0, 4.0),
        "evaluate": (1, 1, 0, 0.0),
    }
    assert list(found)[:3] == ["train sft", "train ppo", "plot"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.21, "0.2 s"), (59.4, "59.4 s"), (59.7, "1 min 00 s"), (245, "4 min 05 s"),
     (3599.6, "1 h 00 min"), (7380, "2 h 03 min")],
)  # fmt: skip
def test_times_read_well(seconds, said):
    assert clock(seconds) == said
