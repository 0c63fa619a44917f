"""What the site has besides docs/: pages from the top of the repository, and linked files.

MkDocs reads this file (mkdocs.yml). On GitHub the pages' links lead through the repository; here
each is turned into one within the site, so that no page is written for either.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
OTHERS = "repository"  # the site's folder for other files
# The target of a Markdown link, without its anchor. Code holds no links.
LINK = re.compile(r"(`[^`]*`)|(?<=\]\()(?!\w+:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in the pages from the top, and each file outside docs/ that a page links."""
    for name, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    linked = {
        target
        for page in files.documentation_pages()
        for target in _targets(_place(page.src_uri), page.content_string)
        if _uri(target).startswith(f"{OTHERS}/") and (ROOT / target).is_file()
    }
    for target in sorted(linked):
        files.append(File.generated(config, _uri(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links through the repository into links within the site."""
    place = _place(page.file.src_uri)
    folder = posixpath.dirname(page.file.src_uri) or "."

    def within(link: re.Match[str]) -> str:
        if link[1]:
            return link[1]
        return posixpath.relpath(_uri(_target(place, link[2])), folder)

    return LINK.sub(within, markdown)


def _targets(place: str, markdown: str) -> Iterator[str]:
    """The paths, from the top of the repository, that a page links."""
    return (_target(place, link[2]) for link in LINK.finditer(markdown) if link[2])


def _target(place: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), link))


def _place(uri: str) -> str:
    """Where in the repository a page of the site lies."""
    return {uri: name for name, uri in PAGES.items()}.get(uri, f"{DOCS}/{uri}")


def _uri(place: str) -> str:
    """Where in the site a file of the repository lies."""
    if place.startswith(f"{DOCS}/"):
        return place.removeprefix(f"{DOCS}/")
    return PAGES.get(place, f"{OTHERS}/{place}")
