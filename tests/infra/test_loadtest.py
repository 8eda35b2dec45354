import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tier_planner.objectives import read_objectives

from infra.scripts.azure_load_test import config
from tests.conftest import PROJECT
from tests.infra.stand_in import Cloud

Infra = Callable[[str], int]


def test_a_tier_that_is_not_deployed_cannot_be_loaded(
    infra: Infra, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infra("loadtest container --environment demo") == 1
    assert "mend:   python -m infra deploy container --environment demo" in capsys.readouterr().err


def test_an_endpoint_that_does_not_answer_could_not_be_judged(
    infra: Infra, cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real Locust, against a port where nobody listens."""
    cloud.knows(FUNCTION_URL="http://127.0.0.1:9", FUNCTION_NAME="func-x")
    assert infra(f"loadtest function --environment demo --records {tmp_path / 'records'}") == 2
    told = capsys.readouterr().out
    assert "the load could not run" in told
    assert "s3cret" not in told, "the key travels in the environment"
    assert (tmp_path / "records").is_dir()


def test_the_yaml_of_azure_load_testing_holds_to_the_objective() -> None:
    objective = read_objectives(PROJECT / "shared" / "config" / "slo.toml").of_tier("container")
    document = yaml.safe_load(config("container", objective, "https://ca-x"))
    assert document["failureCriteria"] == [
        f"p{objective.percentile:g}(response_time_ms) > {objective.bound_ms:g}",
        f"percentage(error) > {objective.error_share_max * 100:g}",
    ]
    assert document["testType"] == "Locust"
    assert document["engineInstances"] == 1
    assert {"name": "LOCUST_HOST", "value": "https://ca-x"} in document["env"]


def test_a_url_cannot_break_out_of_the_yaml() -> None:
    objective = read_objectives(PROJECT / "shared" / "config" / "slo.toml").of_tier("container")
    url = 'https://x"\nversion: v9 #'
    document = yaml.safe_load(config("container", objective, url))
    assert document["version"] == "v0.1"
    assert document["env"][0]["value"] == url


@pytest.mark.parametrize(("tier", "script"), [("function", "function_load"), ("container", "container_load")])
def test_the_bundle_is_all_that_the_load_file_imports(
    infra: Infra, cloud: Cloud, tmp_path: Path, tier: str, script: str
) -> None:
    cloud.knows(FUNCTION_URL="https://func-x", CONTAINER_URL="https://ca-x")
    assert infra(f"loadtest {tier} --azure-load-testing {tmp_path}") == 0
    files = yaml.safe_load((tmp_path / "config.yaml").read_text())
    for name in (files["testPlan"], *files["configurationFiles"], *files["zipArtifacts"]):
        assert (tmp_path / name).is_file()
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        bundle.extractall(tmp_path)
    code = f"import {script}, json, loadtest.paths as p, tier_planner; "
    code += "print(json.dumps([p.__file__, tier_planner.__file__, str(p.SLO), p.SLO.is_file(), p.MODELS.is_dir()]))"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *places, slo, models = json.loads(done.stdout)
    assert all(place.startswith(str(tmp_path)) for place in places)
    assert slo
    assert models
