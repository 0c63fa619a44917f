"""What the study must know of who wrote its demonstrations, found before any job."""

from __future__ import annotations

from collections.abc import Iterator

from svdrift.errors import UserError
from svdrift.study.data import Expert, Replies, inputs
from svdrift.study.stages import Graph
from svdrift.tasks.probing import probing_class


def check_experts(graph: Graph, task: str) -> None:
    """Refuse experts of whom the task or the data cannot tell what they would say.

    Args:
        graph: of the study.
        task: its name.

    Raises:
        UserError: the task lists no right replies for an expert to draw from; or a stage reads how
            likely an expert was to reply so, and learns from a checkpoint's replies.
    """
    for name, data in graph.data.items():
        if isinstance(data, Expert):
            try:
                probing_class(task)
            except UserError as error:
                raise UserError(
                    f"{graph.data_key(name)}.expert: {data.expert!r} draws from all right replies, "
                    f"which task {task!r} does not list: {error}"
                ) from None
    for stage in graph:
        if getattr(stage.settings, "reads_expert", False) and stage.data is not None:
            for name in _written_by_checkpoints(graph, stage.data):
                raise UserError(
                    f"stages.{stage.name}.on: its loss reads how likely the expert was to reply "
                    f"so, which {name} does not tell, since a checkpoint replied (allowed: "
                    "demonstrations of the task or of an expert)"
                )


def _written_by_checkpoints(graph: Graph, name: str) -> Iterator[str]:
    data = graph.data.get(name)
    if isinstance(data, Replies):
        yield name
    elif data is not None and not isinstance(data, Expert):
        for used in inputs(data):
            yield from _written_by_checkpoints(graph, used)
