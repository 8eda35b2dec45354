"""One fixture: every store in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from inference_jobs.settings import JobSettings
from inference_jobs.store import Store

from tests.shared.inference_jobs.azurite import Azurite, azurite, missing
from tests.shared.inference_jobs.stores import sqlite_store


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azurite for the whole run; what needs it is skipped where it cannot be had."""
    if reason := missing():
        pytest.skip(reason)
    with azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(params=["sqlite", "azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    if request.param == "sqlite":
        with sqlite_store(tmp_path / "store") as opened:
            yield opened
        return
    emulator: Azurite = request.getfixturevalue("emulator")
    azure_store = pytest.importorskip("inference_jobs.azure_store", reason="the extra jobs-azure is not installed")
    opened = azure_store.open_azure_store(JobSettings(jobs_connection=emulator.connection(emulator.account())))
    yield opened
    opened.close()
