"""The reference page and the JSON schema are written from the settings."""

import json

import yaml

from svdrift import plugins
from svdrift.study.reference import PAGE, SCHEMA, reference_page, schema
from svdrift.training.method import ROOM
from tests.study.studies import ROOT


def test_every_field_is_documented():
    page = reference_page()
    assert "None |" not in page
    assert "| `learning_rate` |" in page
    for name in plugins.names(ROOM, "settings"):
        assert f"## `stages.NAME` with `method: {name}`" in page


def test_generated_documents_are_up_to_date():
    """`make docs` writes them."""
    assert json.loads((ROOT / SCHEMA).read_text()) == json.loads(json.dumps(schema()))
    assert (ROOT / PAGE).read_text() == reference_page()


def test_the_schema_knows_every_key_of_the_experiments():
    found = schema()
    stage = found["$defs"]["stage"]["properties"]
    for file in (ROOT / "experiments").rglob("*.yaml"):
        config = yaml.safe_load(file.read_text())
        assert config.keys() - {"sweep"} <= found["properties"].keys()
        for keys in (config.get("stages") or {}).values():
            known = set(stage).union(
                *(
                    definition["properties"]
                    for name, definition in found["$defs"].items()
                    if name.startswith("method_")
                )
            )
            # YAML 1.1 reads the key `on` as true.
            assert {"on" if key is True else key for key in keys or {}} <= known, file


def test_the_schema_refers_to_what_it_defines():
    text = json.dumps(schema())
    names = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert names <= schema()["$defs"].keys()
