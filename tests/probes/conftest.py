"""A tiny model of the game with random weights, and a few hands."""

import pytest
import torch

from svdrift.models.generation import generate
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.probes.probe import Probed, load
from svdrift.tasks import make_task
from svdrift.tasks.general_points.hands import make_split
from svdrift.tasks.general_points.settings import PlaySettings, Settings


def random_model(tokenizer, seed):
    torch.manual_seed(seed)
    model = make_model(
        len(tokenizer),
        ArchitectureSettings(hidden_size=16, layers=2, heads=2, intermediate_size=24),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)  # clear differences between logits
    return model.eval()


@pytest.fixture(scope="package")
def hands():
    settings = Settings()
    return make_split("ood_selection", settings.deal("ood_selection"), 12, 0, {})


@pytest.fixture(scope="package")
def tokenizer():
    return make_tokenizer(make_task(PlaySettings()).words)


@pytest.fixture
def probed(hands, tokenizer):
    """What a kind is given, with its own settings."""

    def make(kind, **changed):
        own = load(kind).Settings(**changed.pop("settings", {}))
        given = {
            "task": make_task(PlaySettings()),
            "play": PlaySettings(),
            "problems": hands,
            "seed": 0,
            "max_new_tokens": 20,
            "model": random_model(tokenizer, 0),
            "tokenizer": tokenizer,
            "generate": generate,
            "dtype": torch.float32,
        }
        return Probed(settings=own, **given | changed)

    return make
