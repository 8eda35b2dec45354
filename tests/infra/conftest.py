import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.__main__ import main
from tests.infra.stand_in import Cloud, make_cloud

Infra = Callable[..., int]


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """`az`, `azd`, `docker` and `curl` that only pretend, first on the PATH."""
    made = make_cloud(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("AZURE_ENV_NAME", raising=False)
    monkeypatch.delenv("AZURE_LOCATION", raising=False)
    return made


@pytest.fixture
def infra(cloud: Cloud) -> Infra:
    """`python -m infra ...` with the stand-ins; answers with its exit status."""
    return lambda line: main(line.split())
