"""Fixtures that several test folders share; the header says what the run stood on."""

import platform
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import settings
from inference_core.cpu import quota_cores, usable_cores

from tests.models import detection_model, tabular_model

# No deadlines (shared, noisy machines) and the same examples each run: a failure is a fact, not a chance.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

PROJECT = Path(__file__).resolve().parents[1]


def pytest_report_header() -> str:
    """One line on the runtime, its providers and the cores."""
    providers = ", ".join(onnxruntime.get_available_providers())
    return (
        f"onnxruntime {onnxruntime.__version__} ({providers}), numpy {np.__version__}, "
        f"{platform.processor() or platform.machine()}, {usable_cores()} usable cores, quota {quota_cores()}"
    )


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A folder with a tiny tabular model and a tiny detector."""
    folder = tmp_path / "models"
    tabular_model(folder)
    detection_model(folder)
    return folder
