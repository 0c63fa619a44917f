"""Numbers published by others, to show beside this project's own. See README.md for sources."""

from importlib import resources
from typing import Literal

import pandas as pd

Name = Literal[
    "llama_ood_by_checkpoint", "accuracy_by_stage", "singular_value_control", "llama_spectra"
]


def published(name: Name) -> pd.DataFrame:
    """The named table of published numbers; accuracies in percent, singular values as they are."""
    with (resources.files(__name__) / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)
