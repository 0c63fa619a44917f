"""What led to the checkpoints that a related paper compares, from the configuration."""

from __future__ import annotations

from svdrift.checkpoints import Checkpoint
from svdrift.study.data import Filter, Mixture, Replies, inputs
from svdrift.study.settings import Settings


def arm_cost(checkpoint: str, settings: Settings) -> dict[str, int]:
    """What was read, played and sampled since the base for a checkpoint.

    Runs whose replies it learned from, or which chose its problems, count too; each run and each
    data set counts once. Where a stage ends early, or data is filtered, it is the most there may
    be.

    Args:
        checkpoint: its id.
        settings: of the study.

    Returns:
        `samples` that training read, each as often as it was read; `episodes` that it played; and
        `replies` that were sampled to make data.
    """
    steps: dict[str, tuple[str, int]] = {}  # run -> its stage, and the last step that counts
    data: set[str] = set()
    _gather(checkpoint, settings, steps, data)
    found = {"samples": 0, "episodes": 0, "replies": sum(sampled(settings, one) for one in data)}
    for stage, step in steps.values():
        own = settings.graph.stages[stage].settings
        for what in ("samples", "episodes"):
            found[what] += getattr(own.work, what) * step // own.total if own.total else 0
    return found


def problems(settings: Settings, name: str) -> int:
    """How many problems a split or data has, at most."""
    data = settings.graph.data.get(name)
    if data is None:
        return settings.task.count(name)
    made_from = sum(problems(settings, used) for used in inputs(data))
    if isinstance(data, Replies):
        made_from *= min(data.samples, data.per_problem or data.samples)
    limit = data.count if isinstance(data, Replies | Mixture) else None
    return made_from if limit is None else min(made_from, limit)


def sampled(settings: Settings, name: str) -> int:
    """How many replies a checkpoint gives so that data can be made, at most."""
    data = settings.graph.data.get(name)
    if isinstance(data, Replies):
        return data.samples * problems(settings, data.on)
    if isinstance(data, Filter):
        return data.pass_rate.samples * problems(settings, data.on)
    return 0


def _gather(
    checkpoint: str, settings: Settings, steps: dict[str, tuple[str, int]], data: set[str]
) -> None:
    """Add the runs on the way to a checkpoint, and all that the data of these runs asked for."""
    parsed = Checkpoint.parse(checkpoint)
    run = parsed.root
    for name, step in parsed.way:
        run = f"{run}.{name}"
        steps[run] = name, max(step, steps.get(run, (name, 0))[1])
        run = f"{run}-{step}"
        waiting = [settings.graph.stages[name].data]
        while waiting:
            used = waiting.pop()
            if used is None or used in data or used not in settings.graph.data:
                continue
            data.add(used)
            waiting += inputs(settings.graph.data[used])
            if used in settings.asked:
                _gather(settings.asked[used], settings, steps, data)
