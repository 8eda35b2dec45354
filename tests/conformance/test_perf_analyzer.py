"""perf_analyzer, Triton's load generator, measures the container and reads where its time went."""

from pathlib import Path

import pytest

from tests.conformance import perf_analyzer
from tests.conformance.models import write_models
from tests.tiers import running


def test_it_measures_a_tabular_model_and_sees_the_statistics_move(tmp_path: Path) -> None:
    binary = perf_analyzer.find()
    if binary is None:
        pytest.skip("no perf_analyzer here; `python -m tests.conformance.perf_analyzer` fetches it")
    models = str(write_models(tmp_path / "models"))
    with running("container", tmp_path / "log", INFERENCE_MODELS_DIR=models) as client:
        loads = perf_analyzer.measure(binary, str(client.base_url), "sizes-linear", "input:1,3")
        counted = client.get("/v2/models/sizes-linear/stats").json()["model_stats"][0]["inference_count"]
    assert [load.concurrency for load in loads] == [1, 2]
    for load in loads:
        assert load.throughput_per_s > 0
        assert load.server_count > 0
        assert load.compute_infer_us > 0
    assert counted >= sum(load.server_count for load in loads)
