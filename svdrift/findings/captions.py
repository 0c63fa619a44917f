"""Captions of figures and tables (`workflow/report/*.rst`) outside Snakemake's own report."""

from __future__ import annotations

import re
from pathlib import Path

from docutils.core import publish_parts
from jinja2 import Template
from markupsafe import Markup


def as_text(caption: Path) -> str:
    """A caption without what a report says on top: the seeds, problems and settings."""
    template = Template(caption.read_text(encoding="utf-8"))
    text: str = template.render(snakemake={"config": {"made_of": ""}})
    return text.strip()


def as_markdown(caption: Path) -> str:
    """The same as Markdown; captions have bold words and code, and no other markup."""
    return as_text(caption).replace("``", "`")


def as_html(caption: Path) -> Markup:
    """The same as HTML."""
    return Markup(publish_parts(as_text(caption), writer="html5")["fragment"])


def question(caption: Path) -> str:
    """What a caption begins with, in bold.

    Raises:
        ValueError: it does not begin so.
    """
    found = re.match(r"\*\*(.+?)\*\*", as_text(caption))
    if found is None:
        raise ValueError(f"{caption}: does not begin with a sentence in bold")
    return found[1]
