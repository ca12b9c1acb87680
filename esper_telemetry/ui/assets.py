"""The files of the page: ours from the package, those of the charts from the installed wheel of bokeh.

A file is served only if its name is in a table that is made at the start: no path is made of what a browser sends.
"""

from __future__ import annotations

from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from esper_telemetry.errors import MissingExtraError

_BOKEH = ("bokeh.min.js", "bokeh-api.min.js")
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset:
    """A file that is served.

    Args:
        path: where it is.
        lasting: it is the same as long as its address is: a browser may keep it.
    """

    def __init__(self, path: Path, *, lasting: bool = False) -> None:
        self.path = path
        self.lasting = lasting

    @property
    def media_type(self) -> str:
        """Its content type."""
        return _KINDS[self.path.suffix]


def find_assets() -> dict[str, Asset]:
    """Return every file of the page by its address.

    Raises:
        MissingExtraError: the package whose wheel has the files of the charts is not installed.
    """
    folder = Path(str(resources.files("esper_telemetry.ui") / "static"))
    found = {f"static/{path.name}": Asset(path) for path in sorted(folder.iterdir()) if path.suffix in _KINDS}
    found[""] = found["static/index.html"]
    charts = _bokeh_folder()
    for name in _BOKEH:
        found[f"charts/{name}"] = Asset(charts / name, lasting=True)
    return found


def charts_version() -> str:
    """Return the version of the library that draws the charts."""
    return version("bokeh")


def _bokeh_folder() -> Path:
    # Its folder is found without an import, which would take a second that a page does not need.
    found = find_spec("bokeh")
    if found is None or found.origin is None:
        raise MissingExtraError("the package 'bokeh', whose wheel has the charts of the page,", "ui")
    folder = Path(found.origin).parent / "server" / "static" / "js"
    if not (folder / _BOKEH[0]).is_file():
        raise MissingExtraError(f"{folder / _BOKEH[0]}, a file of the package 'bokeh',", "ui")
    return folder
