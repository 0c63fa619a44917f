"""What `source` can name is found without reading or downloading it; all else is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from httpx2 import RemoteProtocolError
from huggingface_hub.errors import LocalEntryNotFoundError

from svdrift.errors import UserError
from svdrift.models import hub
from svdrift.models.sources import HubModel, files_of, find_source
from tests.packages import install


def test_a_folder(folder: Path) -> None:
    assert find_source(str(folder)) == folder
    (folder / ".hidden").write_text("")
    names = {file.name for file in files_of(str(folder))}
    assert {"config.json", "model.safetensors"} <= names
    assert ".hidden" not in names


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_a_pickle_is_refused_with_what_mends_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError) as caught:
        find_source(str(tmp_path / name))
    assert "holds pickled weights, which are never read" in str(caught.value)
    assert "save_pretrained(NEW)" in str(caught.value)


def test_a_gguf_file(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"")
    assert find_source(str(file)) == file
    assert files_of(str(file)) == [file]


def test_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "some-model", ["some_model/a.gguf", "some_model/__init__.py"])
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_source("package:some-model") == tmp_path / "some_model/a.gguf"


def test_a_package_with_two_models_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "some-model", ["some_model/a.gguf", "some_model/b.gguf"])
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="'some-model' ships 2 GGUF files"):
        find_source("package:some-model")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", HubModel("Qwen/Qwen2.5-7B-Instruct", None)),
        ("org/name@v1.0", HubModel("org/name", "v1.0")),
        ("org/name@refs/pr/3", HubModel("org/name", "refs/pr/3")),
    ],
)
def test_a_model_on_the_hub(source: str, found: HubModel) -> None:
    assert find_source(source) == found
    assert files_of(source) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "'nowhere' names no model"),
        ("a/b/c", "'a/b/c' names no model"),
        ("models/there.gguf", "'models/there.gguf' names no model"),
        ("../x", "'../x' names no model"),
        ("tests/nothing", "tests is a folder here, without nothing"),
        ("package:", "package '' is not installed"),
        ("package:no-such-thing", "package 'no-such-thing' is not installed"),
        ("package:numpy", "package 'numpy' ships 0 GGUF files"),
    ],
)
def test_anything_else_is_refused(source: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        find_source(source)
    assert message in str(caught.value)
    assert str(caught.value).startswith("source: ")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a model folder: it has no config.json"):
        find_source(str(tmp_path))


def test_the_hubs_cache_is_enough(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the hub's own library lays it out: a folder of links, named by the commit.
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "cache"
    snapshot = cache / "models--org--name/snapshots" / commit
    shutil.copytree(folder, snapshot)
    (cache / "models--org--name/refs").mkdir()
    (cache / "models--org--name/refs/main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert hub.download(HubModel("org/name", None)) == snapshot
    assert hub.download(HubModel("org/name", commit)) == snapshot
    with pytest.raises(UserError, match="org/other is not in the cache"):
        hub.download(HubModel("org/other", None))


@pytest.mark.parametrize("error", [OSError, RemoteProtocolError, LocalEntryNotFoundError])
def test_what_the_hub_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise error("two\nlines")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(UserError) as caught:
        hub.download(HubModel("org/name", None))
    assert "\n" not in str(caught.value)


def test_finding_a_source_imports_nothing_heavy() -> None:
    code = (
        "import sys, svdrift.models.sources\n"
        "print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
