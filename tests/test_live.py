"""Live metrics: the CSV, TensorBoard itself, and the other trackers through a fake of their API."""

import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from svdrift.errors import UserError
from svdrift.live import FILE, LiveMetrics, TrackingSettings, last_row, require_tracker

KEY = "0123456789abcdef" * 4


def row(step):
    return {"step": step, "loss": 1 / step}


def text(steps):
    return "".join(["step,loss\n", *(f"{step},{1 / step!r}\n" for step in steps)])


def show(folder, *steps, begin=(), tracking=None, key=KEY):
    """An attempt of a run: from a snapshot with the rows of the steps `begin`, to a kill."""
    live = LiveMetrics(folder, tracking, key)
    live.begin(map(row, begin))
    for step in steps:
        live.append(row(step))
    return live


def read(folder):
    return (folder / FILE).read_bytes().decode()


def test_each_row_can_be_read_as_soon_as_it_is_there(tmp_path, capsys):
    live = LiveMetrics(tmp_path / "work")
    for step in range(1, 4):
        live.append(row(step))
        assert read(tmp_path / "work") == text(range(1, step + 1))
    assert capsys.readouterr().out == f"metrics while it trains: {tmp_path / 'work' / FILE}\n"


@pytest.mark.parametrize("snapshot", [[], [1], [1, 2, 3]])
def test_resuming_doubles_no_row(tmp_path, snapshot):
    show(tmp_path, 1, 2, 3)
    show(tmp_path, *range(len(snapshot) + 1, 6), begin=snapshot)
    assert read(tmp_path) == text(range(1, 6))


def test_an_attempt_without_snapshots_begins_anew(tmp_path):
    show(tmp_path, 1, 2, 3)
    LiveMetrics(tmp_path).append(row(1))
    assert read(tmp_path) == text([1])


def test_a_row_with_another_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reward"):
        show(tmp_path, 1).append({"step": 2, "reward": 1.0})


def test_other_processes_write_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    show(None, 1, 2, tracking=TrackingSettings(tool="tensorboard")).close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("written", "step"),
    [
        (None, None),
        ("", None),
        ("step,loss\n", None),
        ("step,loss\n1,0.5\n", "1"),
        ("step,loss\n1,0.5\n12,0.2", "1"),  # half of a row
    ],
)
def test_the_last_whole_row_is_read(tmp_path, written, step):
    if written is not None:
        (tmp_path / FILE).write_text(written)
    found = last_row(tmp_path / FILE)
    assert found == (None if step is None else {"step": step, "loss": "0.5"})


@pytest.mark.parametrize("tool", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_missing_is_refused_with_what_installs_it(tmp_path, monkeypatch, tool):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = rf"tracking: '{tool}' needs the package {tool}, .* \(pip install {tool}; "
    with pytest.raises(UserError, match=line):
        require_tracker(tool)
    with pytest.raises(UserError, match=line):
        LiveMetrics(tmp_path, TrackingSettings(tool=tool))
    require_tracker(None)


def test_tensorboard_shows_each_step_once_though_cut_off(tmp_path):
    tracking = TrackingSettings(tool="tensorboard", run="seed-0/sft", folder=tmp_path / "tracking")
    show(tmp_path / "work", 1, 2, 3, tracking=tracking)  # killed: never closed
    show(tmp_path / "work", 2, 3, 4, begin=[1], tracking=tracking).close()
    (folder,) = (tmp_path / "tracking" / "seed-0" / "sft").iterdir()
    assert folder.name == KEY[:8]
    shown = EventAccumulator(str(folder)).Reload()
    assert shown.Tags()["scalars"] == ["loss"]
    assert [event.step for event in shown.Scalars("loss")] == [1, 2, 3, 4]
    losses = [event.value for event in shown.Scalars("loss")]
    assert losses == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def test_tensorboard_shows_a_run_that_is_made_again_once(tmp_path):
    tracking = TrackingSettings(tool="tensorboard", run="sft", folder=tmp_path / "tracking")
    for work in ("first", "again"):  # a finished run's work folder is gone
        show(tmp_path / work, 1, 2, 3, tracking=tracking).close()
    shown = EventAccumulator(str(tmp_path / "tracking" / "sft" / KEY[:8])).Reload()
    assert [event.step for event in shown.Scalars("loss")] == [1, 2, 3]


class FakeTracker(types.ModuleType):
    """What svdrift calls of wandb and trackio, which share it."""

    Error = type("Error", (Exception,), {})

    def __init__(self, name, fails=""):
        super().__init__(name)
        self.calls, self.fails = [], fails
        self.__spec__ = types.SimpleNamespace()  # what find_spec looks for

    def init(self, **options):
        if self.fails:
            raise self.Error(self.fails)
        self.calls.append(("init", options))
        return self

    def log(self, metrics, *, step):
        self.calls.append(("log", step, metrics))

    def finish(self):
        self.calls.append(("finish",))


@pytest.mark.parametrize("tool", ["wandb", "trackio"])
def test_a_tracker_is_sent_each_step_once(tmp_path, monkeypatch, tool):
    monkeypatch.setitem(sys.modules, tool, fake := FakeTracker(tool))
    tracking = TrackingSettings(
        tool=tool, project="seeds", run="seed-1/sft", folder=tmp_path / "tracking"
    )
    show(tmp_path, 1, 2, 3, tracking=tracking)
    show(tmp_path, 2, 3, 4, begin=[1], tracking=tracking).close()
    own = {"id": KEY[:32], "dir": str(tmp_path / "tracking")} if tool == "wandb" else {}
    init = (
        "init",
        {"project": "seeds", "name": f"seed-1/sft/{KEY[:8]}", "resume": "allow", **own},
    )
    logs = [("log", step, {"loss": 1 / step}) for step in range(1, 5)]
    assert fake.calls == [init, *logs[:3], init, logs[3], ("finish",)]
    assert read(tmp_path) == text(range(1, 5))


def test_a_tracker_that_does_not_start_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", FakeTracker("wandb", fails="no API key\nlog in"))
    with pytest.raises(UserError, match="tracking: 'wandb' does not start: no API key log in"):
        show(tmp_path, tracking=TrackingSettings(tool="wandb"))
