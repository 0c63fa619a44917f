"""Names that become folders and files: of studies, and of what they make."""

from __future__ import annotations

import re
from collections.abc import Iterable

from svdrift.errors import UserError, shown

STUDY = r"^[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.]+=[a-z0-9_.=,-]*)?$"
"""A folder of its own. Only sweeps have studies below their own, whose names hold a `=`, as no
folder of a study does."""
COMPARISONS = "compare"
"""Where comparisons of studies are written, beside the studies."""
LONGEST = 200
"""Characters of what becomes part of a file's name, which has at most 255 bytes."""


def check_study(name: str) -> None:
    """Refuse what cannot be a study's folder.

    Raises:
        UserError: saying what is allowed.
    """
    if not re.fullmatch(STUDY, name) or name == COMPARISONS:
        raise UserError(
            f"key 'study' cannot be {shown(name)} (allowed: a-z, 0-9, '_', '.' and '-', beginning "
            f"with a letter or digit, but not '{COMPARISONS}'; only sweeps have a '/', before "
            "their points)"
        )
    check_lengths(name.split("/"))


def check_lengths(names: Iterable[str]) -> None:
    """Refuse names that would be too long for a file.

    Raises:
        UserError: with the first such name.
    """
    for name in names:
        if len(name) > LONGEST:
            raise UserError(
                f"{shown(name)} would be in the name of a file, and has {len(name)} characters "
                f"(allowed: {LONGEST}; shorten the names of studies, stages and rules)"
            )
