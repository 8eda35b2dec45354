"""The tiny detector, as most of these tests run it."""

import pytest
from inference_core.manifest import Manifest, read_manifest
from inference_core.session import Session

from tests.models import detection_model


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The tiny detector's."""
    return read_manifest(detection_model(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="session")
def session(manifest: Manifest) -> Session:
    """It opened."""
    return Session(manifest.model_bytes, threads=1)
