"""How the configuration refers to a checkpoint.

`base` (a root), `sft@64` (a stage and a step), `sft@end`; `ppo@end of sft@64` where a stage has
several starts. `starts of ppo` stands for every checkpoint that a stage starts from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from svdrift.checkpoints import STAGE
from svdrift.errors import UserError, shown

END = "end"
LONGEST = 1000
"""Characters of a reference; each `of` in it is one more stage."""
_REFERENCE = re.compile(rf"({STAGE})(?:@([0-9]{{1,9}}|{END}))?(?: of (.+))?")
_STARTS = re.compile(rf"starts of ({STAGE})")


@dataclass(frozen=True)
class Reference:
    """A reference as it is written.

    Attributes:
        stage: name of the stage.
        step: a step, `end`, or None for a root.
        of: the start that is meant, where the stage has several.
    """

    stage: str
    step: int | str | None
    of: Reference | None

    def __str__(self) -> str:
        step = "" if self.step is None else f"@{self.step}"
        return f"{self.stage}{step}" + ("" if self.of is None else f" of {self.of}")

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of all stages that it mentions."""
        return (self.stage, *(self.of.stages if self.of else ()))


def read_reference(text: str) -> Reference:
    """Read a reference to one checkpoint.

    Raises:
        UserError: naming the text and the forms that are allowed.
    """
    match = _REFERENCE.fullmatch(str(text).strip())
    if match is None or len(text) > LONGEST:
        raise UserError(
            f"{shown(text)} is not a reference to a checkpoint (allowed: base, sft@64, sft@end, "
            "ppo@end of sft@64)"
        )
    step = int(match[2]) if match[2] and match[2] != END else match[2]
    return Reference(match[1], step, read_reference(match[3]) if match[3] else None)


def starts_of(text: str) -> str | None:
    """The stage in `starts of STAGE`; None if the text is something else."""
    match = _STARTS.fullmatch(str(text).strip())
    return match[1] if match else None
