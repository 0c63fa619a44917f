"""Importing a model: what the workflow knows of it, and its settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from svdrift.models.sources import HubModel, files_of, find_source
from svdrift.training.method import Method, MethodSettings

METHOD = Method(
    label="import",
    tables=(),
    learns_from="nothing",
    starts=False,
    launched=False,
    stored=False,
    runtime=30,
)


class Settings(MethodSettings):
    """A model that exists, checked strictly and saved in the study's type."""

    source: str = Field(
        description="The path of a Hugging Face model folder with safetensors; of a GGUF file; "
        "`package:NAME` of an installed Python package that ships one; or `ORG/NAME` or "
        "`ORG/NAME@REVISION` on the Hugging Face hub.",
    )

    @property
    def total(self) -> int:
        """See the base class: the model is made in one go."""
        return 0

    @property
    def summary(self) -> str:
        """Where the model comes from."""
        return self.source

    @property
    def files(self) -> tuple[Path, ...]:
        """Local files that define the model; editing any of them imports it anew."""
        return tuple(files_of(self.source))

    @property
    def needs_network(self) -> bool:
        """Whether the model is fetched from the hub, which compute nodes may not reach."""
        return isinstance(find_source(self.source), HubModel)

    def check_files(self) -> None:
        """Raises UserError where the source names no model."""
        find_source(self.source)
