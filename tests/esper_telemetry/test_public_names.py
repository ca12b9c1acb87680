"""What a person sees first: dir, help and the version."""

import pydoc
import subprocess
import sys
from importlib import metadata

import esper_telemetry as et


def test_dir_lists_the_public_names():
    assert dir(et) == sorted(et.__all__)


def test_the_version_is_the_installed_one():
    assert et.__version__ == metadata.version("esper-telemetry")


def test_a_checkout_that_was_never_installed_has_a_version_too(tmp_path):
    code = """
from importlib import metadata
def none(name): raise metadata.PackageNotFoundError(name)
metadata.version = none
import esper_telemetry
print(esper_telemetry.__version__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "unknown"


def test_help_shows_how_a_run_is_used():
    text = pydoc.plain(pydoc.render_doc(et.Run))
    assert "emit(self, event" in text
    assert "bind(self, *wrong" in text
    assert 'run.emit(events.ScalarLogged, name="loss", value=0.25, step=1)' in text
