"""The story of a study: which checkpoints play which part in figures and claims.

Figures and claims read roles and labels from here and know no stage or method by name. The study
resolves the configuration's `story:` to it (`svdrift.study`).
"""

from __future__ import annotations

from pydantic import Field

from svdrift.section import Section


class Role(Section):
    """A stage with a part in the story.

    Attributes:
        stage: its name.
        label: what figures and claims call it.
        unit: what one of its steps is, `step` or `update`.
        results: id of each start -> id of the checkpoint at the end from there.
        kept: id of each start -> ids of all kept checkpoints, the end last.
    """

    stage: str
    label: str
    unit: str
    results: dict[str, str]
    kept: dict[str, tuple[str, ...]]


class Story(Section):
    """Roles by checkpoint ids.

    `path` is the line of checkpoints along which ability comes and goes: its start and what its
    stage keeps. `rl` starts from some of them; each control, and `rl_null` (RL without its signal),
    from some of RL's starts; what comes `after`, from what RL keeps. `peak` is the checkpoint of
    the path that the study names in advance as the peak of OOD ability, if it does. `arms` are the
    checkpoints that a related paper compares, by the paper's names for them.
    """

    path: tuple[str, ...]
    path_label: str
    peak: str | None = None
    rl: Role | None = None
    controls: tuple[Role, ...] = ()
    rl_null: Role | None = None
    after: tuple[Role, ...] = ()
    moderate: str | None = None
    arms: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str]  # of every stage

    @property
    def base(self) -> str:
        """Where the path begins."""
        return self.path[0]

    @property
    def last(self) -> str:
        """Where the path ends."""
        return self.path[-1]

    @property
    def candidates(self) -> tuple[str, ...]:
        """The checkpoints of which a seed's OOD peak is chosen on selection problems."""
        return self.path if self.peak is None else (self.peak,)

    @property
    def starts(self) -> tuple[str, ...]:
        """Ids of RL's starts, in the order of the path."""
        return tuple(self.rl.results) if self.rl else ()

    @property
    def named_starts(self) -> dict[str, str]:
        """RL's starts by what papers call them: `short`, `moderate`, `long`.

        `short` and `long` are missing where the moderate one is itself the first or the last.
        """
        if not self.starts or self.moderate is None:
            return {}
        named = {"short": self.starts[0], "moderate": self.moderate, "long": self.starts[-1]}
        return {name: id for name, id in named.items() if name == "moderate" or id != self.moderate}

    @property
    def ends(self) -> tuple[Role, ...]:
        """RL and its controls."""
        return ((self.rl,) if self.rl else ()) + self.controls

    @property
    def roles(self) -> tuple[Role, ...]:
        """RL, its controls, its null, and what comes after RL."""
        return self.ends + ((self.rl_null,) if self.rl_null else ()) + self.after
