"""The configuration's `ranks:`, with its checkpoints resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from svdrift.checkpoints import STAGE
from svdrift.errors import UserError
from svdrift.ranks.settings import RanksSettings
from svdrift.study.names import check_lengths


def read_ranks(
    given: Mapping[str, RanksSettings | None], named: Callable[[str, str], str]
) -> dict[str, RanksSettings]:
    """The choices of ranks by name, their checkpoints by id; null removes one.

    Args:
        given: the section `ranks:`.
        named: the id of a checkpoint, from the key and a reference.

    Raises:
        UserError: one line that names the first wrong key.
    """
    found = {}
    for name, settings in given.items():
        if settings is None:
            continue
        key = f"ranks.{name}"
        if not re.fullmatch(STAGE, name):
            raise UserError(f"{key}: not a name (allowed: a-z, 0-9 and _, beginning with a letter)")
        check_lengths([name])
        target, anchor = settings.target, settings.anchor
        ids = {
            "target": named(f"{key}.target", target),
            "anchor": None if anchor is None else named(f"{key}.anchor", anchor),
        }
        found[name] = settings.model_copy(update=ids)
    return found
