"""Models on the Hugging Face hub, by way of its local cache."""

from __future__ import annotations

from pathlib import Path

from httpx2 import HTTPError  # what the hub's library lets through when a connection breaks
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

from svdrift.errors import UserError
from svdrift.models.folders import one_line
from svdrift.models.sources import HubModel

# At the top level only: subfolders hold other forms of the same model. No pickled weights, no code.
WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "USE_POLICY*")
UNWANTED = ("*/*",)


def download(model: HubModel) -> Path:
    """Bring a model's files into the hub's cache, if they are not there, and return their folder.

    Honours the hub's own variables: `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`.

    Raises:
        UserError: there is no such model or revision, its licence has not been accepted, or the
            hub cannot be reached and the model is not in the cache.
    """
    try:
        folder = snapshot_download(
            model.repository,
            revision=model.revision,
            allow_patterns=list(WANTED),
            ignore_patterns=list(UNWANTED),
        )
    except GatedRepoError as error:
        raise UserError(
            f"source: {model.repository} is gated: accept its licence on the hub and log in "
            f"(hf auth login): {one_line(error)}"
        ) from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"source: {model.repository} is not in the cache, and the hub was not reached; "
            f"where there is internet: hf download {model.repository}"
        ) from error
    except (HTTPError, OSError, ValueError) as error:
        raise UserError(f"source: {model.repository}: {one_line(error)}") from error
    return Path(folder)
