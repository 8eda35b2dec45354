"""The app as it is deployed: unpacked in a folder that cannot be written, its models beside it."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

SITE = Path(".python_packages/lib/site-packages")
PROBE = """
import json, sys
import azure.functions as func
sys.path[:0] = [{package!r}, {site!r}]
import function_app, inference_core
row = json.load(open({golden!r}))["rows"][0]
body = json.dumps({{"rows": [row]}}).encode()
url = "https://host/v1/models/breast-cancer/predict"
reply = function_app.predict(func.HttpRequest("POST", url, route_params={{"name": "breast-cancer"}}, body=body))
print(json.dumps([inference_core.__file__, str(function_app.SETTINGS.models_dir), reply.status_code]))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    shutil.copytree(PROJECT / "functions", folder, ignore=shutil.ignore_patterns("local_host.py", "__pycache__"))
    shutil.copytree(
        PROJECT / "shared" / "inference_core",
        folder / SITE / "inference_core",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    model = "breast-cancer-logistic"
    shutil.copytree(PROJECT / "shared" / "models" / model, folder / "models" / model)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return folder


def test_the_package_answers_from_a_read_only_folder(package: Path, tmp_path: Path) -> None:
    golden = package / "models" / "breast-cancer-logistic" / "golden.json"
    probe = PROBE.format(package=str(package), site=str(package / SITE), golden=str(golden))
    environ = {key: value for key, value in os.environ.items() if not key.startswith("INFERENCE_")}
    home = tmp_path / "home"  # ONNX Runtime's telemetry would write a device id below it
    home.mkdir()
    environ |= {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    before = sorted(package.rglob("*"))
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", probe],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    core, models_dir, status = json.loads(ended.stdout)
    assert Path(core).is_relative_to(package)
    assert Path(models_dir) == package / "models"
    assert status == 200
    assert sorted(package.rglob("*")) == before
    assert list(home.iterdir()) == []
    for path in [package, *package.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)  # so that it can be cleared away
