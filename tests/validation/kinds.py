"""The kinds of statement that are validated.

One more kind is one more module with a `TITLE` and `SIMULATIONS`, named here.
"""

from __future__ import annotations

from types import ModuleType

from tests.validation import contrasts, drift, families, forgetting, paired, ranks, shares

KINDS: tuple[ModuleType, ...] = (paired, forgetting, contrasts, shares, ranks, drift, families)
