"""The pages of a finished study of a paper go into the gallery, with what it cost."""

import json

import pytest
from PIL import Image

from docs.related import put
from svdrift.errors import UserError


def test_pages_and_cost_are_copied(tmp_path):
    study, gallery = tmp_path / "results/heals", tmp_path / "gallery"
    page = study / "papers/sparkle_probes"
    page.mkdir(parents=True)
    with pytest.raises(UserError, match="has no report yet"):
        put("heals", tmp_path / "results", gallery)
    for name in ("README.md", "findings.csv", "reliability.csv"):
        (page / name).write_text(name)
    Image.linear_gradient("L").convert("RGB").save(page / "statements.png")
    (study / "report.html").write_text("")
    (study / "configuration.json").write_text(json.dumps({"seeds": [0, 1]}))
    for job, said in (("a", "reused from the store\n"), ("b", "done\n")):
        for folder, suffix, text in (("benchmarks", "tsv", "s\n2.5\n"), ("logs", "log", said)):
            (study / folder).mkdir(exist_ok=True)
            (study / folder / f"{job}.{suffix}").write_text(text)
    (place,) = put("heals", tmp_path / "results", gallery)
    assert place == gallery / "sparkle-probes"
    assert {file.name for file in place.iterdir()} == {
        *("README.md", "findings.csv", "statements.png", "cost.json")
    }
    cost = json.loads((place / "cost.json").read_text())
    assert cost == {"seeds": 2, "jobs": 2, "reused": 1, "seconds": 2}
    with Image.open(place / "statements.png") as image:
        assert image.size == (256, 256)
