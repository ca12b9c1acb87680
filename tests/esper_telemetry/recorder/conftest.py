"""Doubles of what a machine may not have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NVML_DOUBLE = Path(__file__).with_name("nvml_double.c")


@pytest.fixture(scope="session")
def nvml_double(tmp_path_factory):
    """A shared library that answers as NVML does, with two devices."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the double of NVML with")
    library = tmp_path_factory.mktemp("nvml") / "libnvml-double.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, NVML_DOUBLE], check=True)
    return str(library)
