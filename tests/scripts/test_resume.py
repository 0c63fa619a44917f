"""Taking over from a Snakemake that was killed; with a real Slurm in tests/slurm/."""

import pytest

from scripts import resume
from svdrift import slurm
from svdrift.errors import UserError


def test_run_ids_come_out_of_snakemakes_logs(tmp_path):
    (tmp_path / "a.snakemake.log").write_text(
        "Building DAG\nSLURM run ID: prefix_1f-2\nJob stats\n"
    )
    (tmp_path / "b.snakemake.log").write_text("a run on one machine\n")
    assert slurm.run_ids(tmp_path.glob("*.log")) == ["prefix_1f-2"]
    assert slurm.run_ids([tmp_path / "none"]) == []


def test_jobs_are_cancelled_and_waited_for(monkeypatch, capsys):
    queue, asked = [["7", "9"], ["9"], []], []

    def ask(*command):
        asked.append(command)
        return "\n".join(queue.pop(0)) if command[0] == "squeue" else ""

    monkeypatch.setattr(slurm, "ask", ask)
    monkeypatch.setattr(resume, "ask", ask)
    monkeypatch.setattr(resume, "POLL_S", 0)
    resume.cancel_jobs(["a", "b"])
    assert asked[0][-1] == "--name=a,b"
    assert asked[1] == ("scancel", "7", "9")
    assert not queue
    assert "waits for 1 jobs" in capsys.readouterr().out


def test_without_slurm_it_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="squeue: not found; resume where Slurm's programs are"):
        resume.cancel_jobs(["a"])
