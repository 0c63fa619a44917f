"""What SFT forgets and RL restores, seen in the singular vectors of a model's weights.

The names below are all that programs need; docs/python.md describes them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svdrift.api.comparing import Comparison, compare
    from svdrift.api.evaluating import Evaluation, evaluate
    from svdrift.api.loading import load_factors
    from svdrift.api.recovering import Choice, choose, recover
    from svdrift.api.tables import load_table
    from svdrift.errors import UserError
    from svdrift.recovery.interventions import Intervention

__version__ = "0.2.0"

_PLACES = {  # imported at their first use, so that `import svdrift` is quick
    "compare": "api.comparing",
    "Comparison": "api.comparing",
    "evaluate": "api.evaluating",
    "Evaluation": "api.evaluating",
    "load_factors": "api.loading",
    "load_table": "api.tables",
    "choose": "api.recovering",
    "Choice": "api.recovering",
    "recover": "api.recovering",
    "Intervention": "recovery.interventions",
    "UserError": "errors",
}
__all__ = [
    "Choice",
    "Comparison",
    "Evaluation",
    "Intervention",
    "UserError",
    "choose",
    "compare",
    "evaluate",
    "load_factors",
    "load_table",
    "recover",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'svdrift' has no attribute {name!r}")
    return getattr(importlib.import_module(f"svdrift.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
