"""The README's figures are those of the committed records, targets and manifests; a failure prints the row it wants."""

import pytest
from inference_core.manifest import Manifest
from inference_core.registry import read_manifests
from tier_planner.objectives import read_objectives
from tier_planner.records import Record, read_record

from tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text()
RESULTS = PROJECT / "loadtest" / "results"
RECORDS = {record.ran.tier: record for record in map(read_record, sorted(RESULTS.glob("*.json")))}
MANIFESTS = {manifest.name: manifest for manifest in read_manifests(PROJECT / "shared" / "models")}
FOLDERS = {"function": "functions", "container": "container", "gpu": "vm-gpu"}
WORK = {"tabular-row": "rows of a table", "board-4k": "4K pictures"}


def duration(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"


def accuracy(manifest: Manifest) -> str:
    assert manifest.accuracy is not None
    return f"{manifest.accuracy.metric} {manifest.accuracy.value:.3f}"


def tier_row(record: Record) -> str:
    objective, figures = record.objective, record.figures
    assert figures.judged_ms is not None
    cells = (
        f"[{record.ran.tier}]({FOLDERS[record.ran.tier]}/README.md)",
        f"{WORK[objective.workload]}, {objective.rate_per_s:g}/s",
        f"`{record.ran.model}`, {accuracy(MANIFESTS[record.ran.model])}",
        f"p{objective.percentile:g} ≤ {duration(objective.bound_ms)}",
        duration(figures.judged_ms) + (" on a CPU stand-in" if record.ran.device == "cpu-stand-in" else ""),
        record.verdict.outcome,
    )
    return f"| {' | '.join(cells)} |"


def model_row(manifest: Manifest) -> str:
    assert manifest.accuracy is not None
    more = ", ".join(f"{name} {value:.3f}" for name, value in manifest.accuracy.more)
    return f"| `{manifest.name}` | {manifest.task} | {accuracy(manifest)} | {more} |"


@pytest.mark.parametrize("tier", FOLDERS)
def test_the_table_of_tiers_says_what_the_record_says(tier: str) -> None:
    assert tier_row(RECORDS[tier]) in README


@pytest.mark.parametrize("tier", FOLDERS)
def test_the_record_was_made_for_the_target_as_it_stands(tier: str) -> None:
    objectives = read_objectives(PROJECT / "shared" / "config" / "slo.toml", short=False)
    target, record = objectives.of_tier(tier), RECORDS[tier].objective
    assert (record.bound_ms, record.rate_per_s, record.percentile) == (
        target.bound_ms,
        target.rate_per_s,
        target.percentile,
    )
    assert record.duration_s == target.duration_s


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_table_of_models_says_what_the_manifest_says(name: str) -> None:
    assert model_row(MANIFESTS[name]) in README
