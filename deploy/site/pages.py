"""Hooks of mkdocs: README and CONTRIBUTING become pages, and files that pages link to are copied into the site.

The documents link to files of the repository by relative paths, so that the links work where the repository is read.
A site has no repository around it: a linked file is copied below `repository/`, and a link to a folder becomes text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TOP: Final = Path(__file__).parents[2]
DOCS: Final = TOP / "docs"
# Documents outside of docs/ by the page that they become.
PAGES: Final = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages made of documents outside of docs/, and the files that pages link to."""
    for page, document in PAGES.items():
        files.append(File.generated(config, page, content=(TOP / document).read_text()))
    sources = {page: TOP / document for page, document in PAGES.items()}
    sources |= {file.src_uri: DOCS / file.src_uri for file in files.documentation_pages() if file.src_uri not in PAGES}
    linked = {target for source in sources.values() for target in _outside(source) if target.is_file()}
    for target in sorted(linked):
        files.append(File.generated(config, _copied(target), content=target.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the pages and copies of the site."""
    del config, files
    uri = page.file.src_uri
    source = TOP / PAGES[uri] if uri in PAGES else DOCS / uri

    def replaced(match: re.Match[str]) -> str:
        text, path, anchor = match[1], match[2], match[3] or ""
        if "://" in path or path.startswith("mailto:"):
            return match[0]
        target = (source.parent / path).resolve()
        if target.is_dir():
            return text
        return f"[{text}]({os.path.relpath(_uri(target), Path(uri).parent)}{anchor})"

    return LINK.sub(replaced, markdown)


def _outside(source: Path) -> set[Path]:
    links: list[Any] = LINK.findall(source.read_text())
    targets = {(source.parent / path).resolve() for _, path, _ in links if "://" not in path}
    return {target for target in targets if not _is_page(target)}


def _is_page(target: Path) -> bool:
    return target.is_relative_to(DOCS) or str(target.relative_to(TOP)) in PAGES.values()


def _uri(target: Path) -> str:
    if target.is_relative_to(DOCS):
        return str(target.relative_to(DOCS))
    for page, document in PAGES.items():
        if target == TOP / document:
            return page
    return _copied(target)


def _copied(target: Path) -> str:
    path = f"repository/{target.relative_to(TOP)}"
    # A Markdown file would become a page without a place in the navigation.
    return f"{path}.txt" if target.suffix in {"", ".md", ".toml", ".py", ".js", ".proto"} else path
