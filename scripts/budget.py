"""Print what a study would cost: GPU hours and disk, calculated from its settings and its model."""

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from svdrift.budget import Machine, shape_of, table
from svdrift.errors import UserError
from svdrift.models.folders import one_line
from svdrift.models.loading import auto_class, quiet_transformers
from svdrift.models.sources import HubModel, find_source
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.scripting import run, settings_argument
from svdrift.settings.study import Settings
from svdrift.tasks import task_class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, Settings)
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("experiments/models"),
        help="folder of {ORG}/{NAME}/config.json for models of the hub (default: %(default)s)",
    )
    args = parser.parse_args()
    print(budget(args.settings, args.models))


def budget(settings: Settings, models: Path) -> str:
    """The budget of a study in Markdown."""
    return table(settings, shape_of(without_weights(settings, models), settings), Machine())


def without_weights(settings: Settings, models: Path) -> PreTrainedModel:
    """The study's model on PyTorch's meta device, from its configuration alone."""
    source = settings.model.source
    with torch.device("meta"), quiet_transformers():
        if source == "tiny":
            words = make_tokenizer(task_class(settings.task.name).words)
            return make_model(len(words), settings.model.architecture)
        try:
            config = AutoConfig.from_pretrained(**_place(source, models))
            model: PreTrainedModel = auto_class(config).from_config(config)
        except (OSError, ValueError) as error:
            raise UserError(
                f"model.source: {source} has no configuration here ({one_line(error)}); it can be "
                f"put at {models}/{source}/config.json"
            ) from error
    return model


def _place(source: str, models: Path) -> dict[str, Any]:
    """Arguments by which transformers finds the configuration, without the network."""
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


if __name__ == "__main__":
    run(main)
