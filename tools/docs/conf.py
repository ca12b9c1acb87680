"""How Sphinx makes the site of what build_site.py has put together. Nothing is fetched, at build or at view."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

project = "Esper Telemetry"
version = release = metadata.version("esper-telemetry")
html_title = f"Esper Telemetry {release}"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, Any] = {"navigation_with_keys": True}

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "deflist"]
# `$ ` before a command is not copied, and what the command printed is not either.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
pygments_style = "friendly"
pygments_dark_style = "github-dark"
# Transcripts hold JSON with an ellipsis and other text that a lexer need not accept.
suppress_warnings = ["misc.highlighting_failure"]


def as_restructured_text(*event: Any) -> None:
    """Turn a docstring, which is plain text with code between single backticks, into what Sphinx takes for that.

    Args:
        event: what autodoc passes: the application, kind, name, object and options, and the lines, changed in place.
    """
    kind, lines = event[1], event[5]
    if kind == "module":
        lines.clear()  # strategy and limits of a file are for those who read it
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
        lines[number] = "``".join(parts)


def setup(app: Any) -> None:
    """Register what is done to docstrings, before napoleon reads their sections."""
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)
