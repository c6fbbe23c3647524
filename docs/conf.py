"""Sphinx: `make docs` builds the pages into build/docs. Nothing is fetched, and no notebook is executed.

The source is the checkout itself (`sphinx-build -c docs . build/docs`), so that the links between pages,
notebooks and figures are the same on GitHub and in the built pages.
"""

import sys
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "carlab"
author = "The carlab developers"
copyright = "The carlab developers, Apache-2.0"
root_doc = "docs/index"
include_patterns = [
    "docs/**", "notebooks/*", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
]  # fmt: skip
exclude_patterns = ["docs/_templates", "docs/_static", ".venv", "build", "**.ipynb_checkpoints"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]

# Pages and notebooks.
myst_enable_extensions = ["dollarmath", "attrs_block"]
myst_heading_anchors = 4  # as GitHub names them
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}  # the views of the notebooks are stored as pictures
nb_mime_priority_overrides = [("html", "image/jpeg", 5), ("html", "image/png", 5)]

# The reference, of docstrings.
autosummary_generate = True
autosummary_ignore_module_all = True
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "set"}  # that of a matplotlib class, in roles of its own
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
default_role = "py:obj"  # `name` in a docstring is a link where there is such a name
napoleon_google_docstring = False
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "carlab"
html_static_path = ["_static"]
html_css_files = ["carlab.css"]
html_extra_path = ["_extra"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it is fetched, which a page opened from its file may not
# From the root: autosummary would look beside the source, Sphinx beside this file.
templates_path = [str(ROOT / "docs" / "_templates")]

CONTENTS = {
    "Tutorial": ["notebooks/*"],
    "How to": [
        *(f"docs/howto/{name}" for name in ("photos", "stage", "dataset", "cluster", "offline")),
        "docs/checkpoints", "docs/figures",
    ],
    "Understand": [
        f"docs/{name}" for name in ("method", "glossary", "gotchas", "studies", "architecture")
    ],
    "Use": [
        f"docs/{name}"
        for name in (
            *("settings", "widgets", "frontends", "proposers", "video"),
            *("probes", "datasets", "metrics"),
        )
    ],
    "Evidence": [f"docs/{name}" for name in ("fidelity", "results", "performance", "tuning", "reliability")],
    "Reference": ["docs/reference", "CONTRIBUTING", "CHANGELOG", "SECURITY"],
}  # fmt: skip
"""The navigation. It is here, not in a page, because GitHub shows no table of contents."""
LIVE = {"player.jpg": "player.html"}
"""Pictures in whose place the built pages have the page itself, made by `pages`."""


def contents(_: Sphinx, name: str, source: list[str]) -> None:
    """Add the navigation to the first page."""
    if name == root_doc:
        for caption, pages in CONTENTS.items():
            glob = ":glob:\n" if any("*" in page for page in pages) else ""
            listed = "\n".join(f"/{page}" for page in pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n{glob}\n{listed}\n```\n"


def mathml(writer: Any, node: nodes.Node) -> None:
    """Write a formula as MathML, which browsers draw by themselves: no script, no font."""
    block = isinstance(node, nodes.math_block)
    text = tex2mathml(node.astext(), as_block=block)
    writer.body.append(f'<div class="math">{text}</div>' if block else text)
    raise nodes.SkipNode


def live(app: Sphinx, tree: nodes.document, name: str) -> None:
    """Replace the pictures of live pages by the pages."""
    for image in list(tree.findall(nodes.image)):
        page = LIVE.get(Path(image["uri"]).name)
        if page and app.builder.format == "html":
            place = app.builder.get_relative_uri(name, root_doc).rpartition("/")[0]  # type: ignore[attr-defined]
            address = f"{place}/../_static/{page}" if place else f"../_static/{page}"
            title = escape(image.get("alt", ""))
            frame = f'<iframe class="live" src="{address}" title="{title}" loading="lazy"></iframe>'
            image.parent.replace(image, nodes.raw("", frame, format="html"))


def pages(app: Sphinx, _: Exception | None) -> None:
    """Write the live pages: the run of the README, by the offline backbone."""
    from skimage import data

    import carlab
    from carlab.cli.demo import QUERIES
    from carlab.figures.page import write_page

    if app.builder.format == "html":
        trace = carlab.segment(data.astronaut(), QUERIES["astronaut"][1])
        write_page(trace, Path(app.outdir) / "_static" / "player.html")


def setup(app: Sphinx) -> None:
    """Register all of it."""
    formula = (mathml, None)
    app.add_html_math_renderer("mathml", formula, formula)
    app.connect("source-read", contents)
    app.connect("doctree-resolved", live)
    app.connect("build-finished", pages)
