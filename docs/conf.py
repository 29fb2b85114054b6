"""Configuration of the documentation site, which `make docs` builds."""

from __future__ import annotations

import posixpath
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # where Sphinx finds the extension command_line

project = "kmeans-dask"
author = "The kmeans-dask team"
project_copyright = f"2026, {author}"
release = metadata.version("kmeans-dask")

extensions = ["myst_parser", "sphinx.ext.autodoc", "command_line"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
default_role = "code"  # `name` in a docstring is code
highlight_language = "text"
smartquotes_action = "D"  # dashes alone: quotes are part of what is typed
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("ArrayLike", "Init", "NDArray")}

html_theme = "furo"
html_title = "kmeans-dask"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"source_repository": "https://github.com/kmeans-dask/kmeans-dask/"}

REPOSITORY = "https://github.com/kmeans-dask/kmeans-dask/blob/main/"
# Files outside of this folder that are pages of the site, and the pages that include them.
PAGES = {
    "CHANGELOG.md": "/changelog.md",
    "CONTRIBUTING.md": "/contributing.md",
    "README.md": "/index.md",
    "SECURITY.md": "/security.md",
    "benchmarks/README.md": "/benchmarks.md",
    "jobs/README.md": "/jobs.md",
}
LINK = re.compile(r"\]\((?![a-z]+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")
# A line of a docstring that explains a name or some names.
FIELD = re.compile(r"(\w+(?:, \w+)*): (\S.*)")
SECTIONS = {"Parameters": "param", "Attributes": "ivar", "Examples": ""}


def link_pages(text: str, folder: str) -> str:
    """Return Markdown whose links between files of the repository are links of the site.

    A file that is no page of the site is linked on GitHub.

    folder: the folder in the repository that relative links start from
    """

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[1]))
        inside = path.startswith("docs/")
        target = path.removeprefix("docs") if inside else PAGES.get(path, REPOSITORY + path)
        return f"]({target}{found[2] or ''})"

    return LINK.sub(link, text)


def link_page(app: Any, docname: str, content: list[str]) -> None:
    """Rewrite the links of a page."""
    content[0] = link_pages(content[0], posixpath.join("docs", posixpath.dirname(docname)))


def link_included(app: Any, path: Path, docname: str, content: list[str]) -> None:
    """Rewrite the links of a file that a page includes."""
    folder = (FOLDER / path).resolve().relative_to(FOLDER.parent).parent
    content[0] = link_pages(content[0], folder.as_posix())


def list_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the explanations of names in a docstring, `name: text`, into a list of fields."""
    role = "ivar" if hasattr(obj, "__dataclass_fields__") else "param"
    listed: list[str] = []
    for line in lines:
        field = FIELD.fullmatch(line)
        if line in SECTIONS:
            role = SECTIONS[line]
        elif role and field:
            names = field[1].replace("_", r"\_").split(", ")
            listed += ["", *(f":{role} {each}: {field[2]}" for each in names)]
        elif not line.strip("-") and line:  # the underline of a section
            listed.append("")
        else:
            listed.append(line)
    lines[:] = listed


def setup(app: Any) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("source-read", link_page)
    app.connect("include-read", link_included)
    app.connect("autodoc-process-docstring", list_fields)
