"""A folder for Azure Load Testing: the load file, what it imports, and a YAML whose limits come from slo.toml."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tier_planner.objectives import Objective, Objectives

from infra.scripts.loadtest import FILES
from infra.scripts.steps import say

BUNDLE = "bundle.zip"
REQUIREMENTS = "requirements.txt"
# Where each goes in the bundle. The service unpacks it beside the load file, from where Python imports.
PARTS = (
    ("loadtest", "loadtest"),
    ("shared/tier_planner", "tier_planner"),
    ("shared/training", "training"),
    ("shared/config/slo.toml", "shared/config/slo.toml"),
    ("shared/models", "shared/models"),
)
KINDS = {".py", ".toml", ".json"}


def write_azure_load_test(root: Path, folder: Path, tier: str, objectives: Objectives, url: str) -> int:
    """Write the folder; `az load test create --load-test-config-file` takes its config.yaml."""
    objective = next(o for o in objectives.by_name.values() if o.tier == ("gpu" if tier == "container-gpu" else tier))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILES[tier]).write_text((root / "loadtest" / FILES[tier]).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / REQUIREMENTS).write_text("numpy\npillow\n", encoding="utf-8")
    with zipfile.ZipFile(folder / BUNDLE, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path, name in _bundled(root):
            bundle.write(path, name)
    settings = folder / "config.yaml"
    settings.write_text(config(tier, objective, url), encoding="utf-8")
    create = f"az load test create --load-test-resource NAME --test-id {test_id(tier)}"
    say(f"  written to {folder}; to run it there:")
    say(f"  {create} --load-test-config-file {settings}")
    return 0


def test_id(tier: str) -> str:
    """The name of the test in Azure Load Testing."""
    return f"inference-{tier}"


def config(tier: str, objective: Objective, url: str) -> str:
    """The test as Azure Load Testing reads it. One engine: one schedule is sent by one process."""
    # JSON strings are YAML strings: nothing in a URL or a name can break out of them.
    percentile = f"p{objective.percentile:g}(response_time_ms) > {objective.bound_ms:g}"
    errors = f"percentage(error) > {objective.error_share_max * 100:g}"
    return f"""# Made by `python -m infra loadtest {tier} --azure-load-testing`, from shared/config/slo.toml.
version: v0.1
testId: {test_id(tier)}
displayName: {json.dumps(f"{objective.name}: {objective.target}")}
testType: Locust
testPlan: {FILES[tier]}
engineInstances: 1
configurationFiles:
  - {REQUIREMENTS}
zipArtifacts:
  - {BUNDLE}
env:
  - name: LOCUST_HOST
    value: {json.dumps(url)}
  - name: LOCUST_USERS
    value: "1"
  - name: LOCUST_SPAWN_RATE
    value: "1"
failureCriteria:
  - {json.dumps(percentile)}
  - {json.dumps(errors)}
autoStop:
  errorPercentage: 90
  timeWindow: 60
"""


def _bundled(root: Path) -> Iterator[tuple[Path, str]]:
    for source, name in PARTS:
        path = root / source
        if path.is_file():
            yield path, name
        for inner in sorted(path.rglob("*")):
            if inner.suffix in KINDS and inner.is_file():
                yield inner, f"{name}/{inner.relative_to(path).as_posix()}"
