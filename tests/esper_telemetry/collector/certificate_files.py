"""Certificates to test with, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def make_certificate(
    folder: Path, name: str, *, san: str = "DNS:localhost,IP:127.0.0.1", days: int = 2
) -> tuple[Path, Path]:
    """Make a self-signed certificate; return its file and its key's."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: there is nothing to make certificates with")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", str(days), "-subj", f"/CN={name}"]
    subprocess.run([*command, "-addext", f"subjectAltName={san}"], check=True, capture_output=True)
    return certificate, key
