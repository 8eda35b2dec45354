"""The dashboards ask for metrics that a tier really has, and Grafana and Prometheus find what they are pointed to."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT
from tests.tiers import running

MONITORING = PROJECT / "infra" / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text(encoding="utf-8"))
GOLDEN = PROJECT / "shared" / "models" / "breast-cancer-boosted" / "golden.json"
WORDS = {"sum", "rate", "by", "le", "histogram_quantile"}
"""PromQL's own words in our queries, and the label that a histogram's buckets have."""
FROM_PROMETHEUS = {"up", "tier"}
"""What Prometheus adds: whether it could ask, and the label of prometheus.yml."""


PANELS = [
    (f"{path.stem}: {panel['title']}", panel)
    for path in DASHBOARDS
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
]


def names(query: str) -> set[str]:
    """Metrics and labels in a query."""
    without_ranges = re.sub(r"\[[^]]*\]", "", query)
    return set(re.findall(r"[a-z_]+[a-z]", without_ranges)) - WORDS - FROM_PROMETHEUS


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every metric and label of a tier that has answered once and refused once."""
    with running("container", tmp_path_factory.mktemp("tier") / "log") as client:
        row = json.loads(GOLDEN.read_text(encoding="utf-8"))["rows"][0]
        assert client.post("/v1/models/breast-cancer/predict", json={"rows": [row]}).status_code == 200
        text = client.get("/metrics").text
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    labels = {label for line in samples for label in re.findall(r'(\w+)="', line)}
    return labels | {re.split(r"[{ ]", line)[0] for line in samples}


def test_there_is_a_dashboard() -> None:
    assert DASHBOARDS
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        assert dashboard["uid"]
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize(("title", "panel"), PANELS, ids=[title for title, _ in PANELS])
def test_a_panel_asks_only_for_what_a_tier_has(known: set[str], title: str, panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert names(target["expr"]) <= known, f"{title}: {target['expr']}"
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known | FROM_PROMETHEUS
        assert target["expr"].count("(") == target["expr"].count(")")


def test_panels_do_not_overlap() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for _, panel in PANELS]
    assert len(places) == len(set(places))
    assert all(panel["gridPos"]["w"] == 12 and panel["gridPos"]["h"] == 8 for _, panel in PANELS)


def test_the_dashboards_ask_the_data_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((MONITORING / "grafana-datasources.yml").read_text(encoding="utf-8"))["datasources"]
    known_uids = {source["uid"]: source for source in sources}
    assert {panel["datasource"]["uid"] for _, panel in PANELS} == set(known_uids)
    assert known_uids["prometheus"]["url"] == "http://prometheus:9090"
    assert "prometheus" in COMPOSE["services"]


def test_prometheus_asks_services_that_compose_runs() -> None:
    scraped = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = [target for job in scraped for entry in job["static_configs"] for target in entry["targets"]]
    aliases = COMPOSE["services"]["gpu-stand-in"]["networks"]["default"]["aliases"]
    assert {target.rpartition(":")[0] for target in targets} <= {"container", "gpu"}
    assert aliases == ["gpu"], "the stand-in answers by the GPU tier's name"
    assert {target.rpartition(":")[2] for target in targets} == {"8000"}


def test_every_file_that_is_mounted_is_there() -> None:
    for service in ("prometheus", "grafana"):
        for volume in COMPOSE["services"][service]["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("./") or Path(PROJECT, source).exists(), volume
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.rpartition("/")[2] in {path.name for path in DASHBOARDS}
