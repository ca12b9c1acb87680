"""The files of the page are ours and those of an installed wheel; nothing of them is fetched from elsewhere."""

from __future__ import annotations

import re
from importlib import util

import pytest

from esper_telemetry.errors import MissingExtraError
from esper_telemetry.ui import assets
from esper_telemetry.ui.assets import find_assets

OURS = {name: asset for name, asset in find_assets().items() if name.startswith("static/")}


def test_the_charts_come_from_the_wheel_that_is_installed():
    found = find_assets()
    assert found["charts/bokeh.min.js"].path.stat().st_size > 1_000_000
    assert "site-packages" in str(found["charts/bokeh.min.js"].path)
    assert found[""].path.name == "index.html"
    assert found[""].media_type.startswith("text/html")


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_file_of_the_page_names_no_other_site(name):
    text = OURS[name].path.read_text()
    foreign = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not foreign


@pytest.mark.parametrize("name", [name for name in sorted(OURS) if name.endswith(".js")])
def test_a_script_writes_no_markup_from_text(name):
    text = OURS[name].path.read_text()
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


@pytest.mark.parametrize("name", [name for name in sorted(OURS) if name.endswith(".js")])
def test_every_script_that_is_imported_is_there(name):
    text = OURS[name].path.read_text()
    wanted = {f"static/{found}" for found in re.findall(r"from \"\./([\w.]+)\"", text)}
    assert wanted <= set(OURS)


def test_without_the_wheel_of_the_charts_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(assets, "find_spec", lambda name: None if name == "bokeh" else util.find_spec(name))
    with pytest.raises(MissingExtraError, match=r"esper-telemetry\[ui\]"):
        find_assets()
