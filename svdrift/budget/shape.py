"""The shape of a study's model, known from its configuration without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from svdrift.errors import UserError
from svdrift.models.folders import one_line
from svdrift.models.loading import auto_class, quiet_transformers
from svdrift.models.sources import HubModel, find_source
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.spectra.layouts import patterns_of
from svdrift.spectra.matrices import Labels
from svdrift.spectra.parts import parts_of
from svdrift.study.settings import Settings
from svdrift.tasks import make_task
from svdrift.training.parameters import freeze


@dataclass(frozen=True)
class Shape:
    """What a model's cost depends on.

    Attributes:
        parameters: all of them, those of a vision tower too.
        trained: those that training changes.
        active: those that multiply each token: neither the embedding nor what text skips.
        matrices: shapes of the matrices that are decomposed.
        moving: shapes of those among them that training changes.
    """

    parameters: int
    trained: int
    active: int
    matrices: tuple[tuple[int, int], ...]
    moving: tuple[tuple[int, int], ...]


def shape_of(model: PreTrainedModel, settings: Settings) -> Shape:
    """The shape of a model, which may be on PyTorch's meta device, where it has no weights."""
    kind = model.config.model_type
    labels = Labels(patterns_of(kind, settings.spectra.patterns))
    freeze(model, embeddings=False)
    touched = [p for p in model.parameters() if p.requires_grad]
    looked_up = sum(p.numel() for p in model.get_input_embeddings().parameters())
    if model.config.get_text_config().tie_word_embeddings:
        looked_up = 0  # it multiplies too, as the output head
    freeze(model, embeddings=frozen_embeddings(settings))
    parameters = dict(model.named_parameters())
    parts = parts_of({name: tuple(p.shape) for name, p in parameters.items()}, kind)
    cut = {part.stored for part in parts.values()}
    matrices = [
        (part.shape, parameters[part.stored])
        for name, part in parts.items()
        if labels.of_matrix(name) is not None
    ]
    matrices += [
        ((p.shape[0], p.shape[1]), p)
        for name, p in parameters.items()
        if name not in cut and labels.of_matrix(name) is not None
    ]
    return Shape(
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        active=sum(p.numel() for p in touched) - looked_up,
        matrices=tuple(shape for shape, _ in matrices),
        moving=tuple(shape for shape, p in matrices if p.requires_grad),
    )


def frozen_embeddings(settings: Settings) -> bool:
    """Whether every stage that trains from a checkpoint keeps the embeddings fixed."""
    return all(
        getattr(stage.settings, "freeze_embeddings", False)
        for stage in settings.graph
        if stage.record.starts
    )


def without_weights(settings: Settings, models: Path) -> PreTrainedModel:
    """The model of the study's first root on PyTorch's meta device, from its configuration alone.

    Args:
        models: folder of `{ORG}/{NAME}/config.json` for models of the hub.

    Raises:
        UserError: the model's configuration is not on this machine.
    """
    root = settings.graph.maker(settings.graph.checkpoints[0])
    source = getattr(root.settings, "source", None)
    with torch.device("meta"), quiet_transformers():
        if source is None:
            task = make_task(settings.task.play(*(split.name for split in settings.task.splits)))
            words = make_tokenizer(task.words)
            return make_model(len(words), root.settings.architecture)  # type: ignore[attr-defined]
        try:
            config = AutoConfig.from_pretrained(**_place(source, models))
            model: PreTrainedModel = auto_class(config).from_config(config)
        except (OSError, ValueError) as error:
            raise UserError(
                f"stages.{root.name}.source: {source} has no configuration here "
                f"({one_line(error)}); put it at {models}/{source}/config.json"
            ) from error
    return model


def _place(source: str, models: Path) -> dict[str, Any]:
    """Arguments with which transformers finds the configuration without the network."""
    found = find_source(source)
    if isinstance(found, HubModel):
        own = models / found.repository
        if (own / "config.json").is_file():
            return {"pretrained_model_name_or_path": own}
        return {
            "pretrained_model_name_or_path": found.repository,
            "revision": found.revision or "main",
            "local_files_only": True,
        }
    if found.is_file():
        return {"pretrained_model_name_or_path": found.parent, "gguf_file": found.name}
    return {"pretrained_model_name_or_path": found}
