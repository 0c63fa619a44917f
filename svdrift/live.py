"""Metrics of a training run while it trains: a CSV that grows row by row, and a tracker if asked.

The CSV lies in the run's work folder and goes with it: a finished run has the same rows in its
tables. Nothing here decides a result. Importing this module is quick, because the Snakefile does it
on every start.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import Field

from svdrift.errors import UserError
from svdrift.section import Section

FILE = "metrics.csv"
FIRST_OF_KEY = 8  # characters that tell apart runs of one name with other settings

Tool: TypeAlias = Literal["tensorboard", "wandb", "trackio"]
Row: TypeAlias = Mapping[str, float]


class TrackingSettings(Section):
    """Where else a run's metrics go. Never part of a result."""

    tool: Tool | None = Field(None, description="The tracker; null for none.")
    project: str = Field("svdrift", description="Its project: the study.")
    run: str = Field("run", description="Its run: seed and name, such as `seed-0/sft`.")
    folder: Path = Field(Path("tracking"), description="What it writes on this machine.")


class Tracker(Protocol):
    """What the tools have in common."""

    def log(self, row: dict[str, float], *, step: int) -> None:
        """Record the metrics of a step."""

    def finish(self) -> None:
        """Wait until everything is recorded."""


def require_tracker(tool: Tool | None) -> None:
    """Refuse a tracker whose package the environment does not bring.

    Raises:
        UserError: naming the package and how to install it.
    """
    if tool is not None and importlib.util.find_spec(tool) is None:
        raise UserError(
            f"tracking: '{tool}' needs the package {tool}, which is not installed "
            f"(pip install {tool}; allowed without it: null)"
        )


class LiveMetrics:
    """The rows of one run, shown as they come. On all processes but the main one it does nothing.

    A row's first column counts steps or updates, its second is what training is about (a loss, a
    mean reward); all rows have the columns of the first one.

    Args:
        folder: of the run's snapshots; None does nothing.
        tracking: where else the rows go.
        key: hash of all that the run depends on; in a tracker another key is another run.

    Raises:
        UserError: the tracker is not installed or does not start.
    """

    def __init__(
        self,
        folder: Path | None = None,
        tracking: TrackingSettings | None = None,
        key: str = "",
    ) -> None:
        self.file = None if folder is None else folder / FILE
        self._tracking, self._key = tracking or TrackingSettings(), key
        self._columns: list[str] | None = None
        self._tracker: Tracker | None = None
        self._tracked = 0  # the last step that an earlier attempt has sent to the tracker
        if self.file is not None:
            require_tracker(self._tracking.tool)

    def begin(self, rows: Iterable[Row] = ()) -> None:
        """Begin the file anew with the rows of a snapshot, so that resuming doubles none.

        A run that has no snapshots need not call it.
        """
        if self.file is None:
            return
        if (last := last_row(self.file)) is not None:
            self._tracked = step_of(last)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("")
        print(f"metrics while it trains: {self.file}", flush=True)
        if self._tracking.tool is not None:
            self._tracker = _start(self._tracking, self._key, self._tracked)
        self._columns = []
        for row in rows:
            self.append(row)

    def append(self, row: Row) -> None:
        """Add a row.

        Raises:
            ValueError: it has a column that the first row lacks.
        """
        if self.file is None:
            return
        if self._columns is None:
            self.begin()
        first = not self._columns
        self._columns = self._columns or list(row)
        # Closed after each row: over a network file system others see it only then.
        with self.file.open("a", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, self._columns, lineterminator="\n")
            if first:
                writer.writeheader()
            writer.writerow(dict(row))
        step = step_of(row)
        # Training again from a snapshot gives the same rows, which the tracker already has.
        if self._tracker is not None and step > self._tracked:
            name = self._columns[0]
            self._tracker.log({key: row[key] for key in row if key != name}, step=step)

    def close(self) -> None:
        """Let the tracker record what it still holds."""
        if self._tracker is not None:
            self._tracker.finish()


OFF = LiveMetrics()
"""For training of which nothing is shown."""


def last_row(file: Path) -> dict[str, str] | None:
    """The last whole row of a file of live metrics; None without one."""
    if not file.is_file():
        return None
    whole = file.read_text(encoding="utf-8").rpartition("\n")[0]  # the last may be half written
    rows = list(csv.DictReader(whole.splitlines()))
    return rows[-1] if rows else None


def step_of(row: Mapping[str, Any]) -> int:
    """The step or update that a row is of: its first column."""
    return int(next(iter(row.values())))


def _start(tracking: TrackingSettings, key: str, done: int) -> Tracker:
    """The tracker of a run, after so many steps."""
    name = f"{tracking.run}/{key[:FIRST_OF_KEY]}"
    if tracking.tool == "tensorboard":
        return _TensorBoard(tracking.folder / name, done)
    tool: Any = importlib.import_module(str(tracking.tool))
    own: dict[str, Any] = {}
    if tracking.tool == "wandb":
        tracking.folder.mkdir(parents=True, exist_ok=True)  # else it takes a temporary one
        own = {"id": key[:32], "dir": str(tracking.folder)}
    try:
        tracker: Tracker = tool.init(project=tracking.project, name=name, resume="allow", **own)
    except getattr(tool, "Error", ()) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"tracking: '{tracking.tool}' does not start: {reason}") from None
    return tracker


class _TensorBoard:
    """Event files of one run. Those of steps after `done` that lie there are not shown."""

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow, and needs tensorboard

        self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def log(self, row: dict[str, float], *, step: int) -> None:
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self) -> None:
        self._writer.close()
