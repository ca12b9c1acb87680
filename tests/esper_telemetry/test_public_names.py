"""What a person sees first: dir, help and the version."""

import os
import pydoc
import subprocess
import sys
from importlib import metadata

import pytest

import esper_telemetry as et


def test_dir_lists_the_public_names():
    assert dir(et) == sorted(et.__all__)


def test_the_version_is_the_installed_one():
    assert et.__version__ == metadata.version("esper-telemetry")


def test_a_checkout_that_was_never_installed_has_a_version_too(tmp_path):
    code = """
from importlib import metadata

import pytest
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


FORK_WHILE_A_NAME_IS_LOADED = """
import os, signal, sys, threading, time
from importlib.abc import MetaPathFinder

import esper_telemetry as et

entered = threading.Event()


class Slow(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "esper_telemetry.events":
            entered.set()
            time.sleep(0.3)


sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=lambda: et.events)
thread.start()
entered.wait()
child = os.fork()
if not child:
    signal.alarm(10)  # a child that waits for a thread of its parent's is ended, and its status tells
    os._exit(0 if et.events.ScalarLogged else 1)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_child_forked_while_a_thread_loads_a_name_can_load_it_too():
    command = [sys.executable, "-c", FORK_WHILE_A_NAME_IS_LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "0"
