"""What keeps a stage's adapters (LoRA) from training, found before any job."""

from __future__ import annotations

from svdrift.compute import ComputeSettings
from svdrift.errors import UserError, choices
from svdrift.models.settings import GenerationSettings
from svdrift.spectra.patterns import INSIDE
from svdrift.study.stages import Graph, Stage


def check_lora(
    stage: Stage, graph: Graph, compute: ComputeSettings, generation: GenerationSettings
) -> None:
    """Refuse adapters where they cannot train.

    The modules of an imported model are not known yet: its training job refuses them.

    Raises:
        UserError: models are sharded; another program than ours writes replies; or
            a module is not one of the tiny model's.
    """
    lora = getattr(stage.settings, "lora", None)
    if lora is None:
        return
    key = f"stages.{stage.name}.lora"
    if compute.sharding != "none":
        raise UserError(
            f"{key}: adapters cannot be sharded, and compute.sharding is '{compute.sharding}' "
            "(allowed: 'none')"
        )
    replies = stage.record.plays or stage.settings.reads_selection
    if replies and generation.backend != "batched":
        raise UserError(
            f"{key}: generation.backend '{generation.backend}' takes no adapters (allowed: "
            "'batched')"
        )
    tiny = [f"{module}_proj" for module in INSIDE]
    if any(_is_tiny(graph, kept.root) for kept in stage.checkpoints):
        for module in lora.modules or ():
            if module not in tiny:
                raise UserError(
                    f"{key}.modules: {module!r} is no linear module of the tiny model's layers"
                    f"{choices(module, tiny)}"
                )


def _is_tiny(graph: Graph, root: str) -> bool:
    return hasattr(graph.stages[root].settings, "architecture")
