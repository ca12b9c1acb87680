"""The manifest is what Kubernetes takes, by the schemas of several of its versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_telemetry import collector

pytestmark = pytest.mark.integrations
MANIFEST = Path(collector.__file__).parent / "deploy" / "kubernetes.yaml"


def test_every_document_of_the_manifest_is_valid_without_unknown_fields():
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    kinds = []
    for document in yaml.safe_load_all(MANIFEST.read_text()):
        for version in ("1.29", validator.latest_version()):
            validator.validate(document, version, strict=True)
        kinds.append(document["kind"])
    assert {"StatefulSet", "Service", "NetworkPolicy", "ConfigMap", "PodDisruptionBudget"} <= {*kinds}
