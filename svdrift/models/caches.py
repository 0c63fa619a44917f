"""The cache of keys and values, by the name that the installed transformers has for it.

Until 5.23 models take and return it as `past_key_values`, from 5.24 on as `cache`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from transformers import Cache, PreTrainedModel

NEW, OLD = "cache", "past_key_values"


def cache_argument(model: PreTrainedModel, cache: Cache | None) -> dict[str, Cache | None]:
    """The argument of `model.forward` that goes on from a cache."""
    takes = inspect.signature(model.forward).parameters
    return {NEW if NEW in takes else OLD: cache}


def cache_of(output: Mapping[str, Any]) -> Cache | None:
    """The cache in what a model returned; None if it keeps none."""
    found: Cache | None = output[NEW] if NEW in output else output.get(OLD)
    return found
