"""Every call of the protocol, less its transport."""

import json
from pathlib import Path

import pytest
from inference_core.errors import InvalidTensor, ModelNotFound
from inference_core.manifest import Manifest, read_manifest
from inference_core.open_inference import OpenInference
from inference_core.registry import Registry, TensorPipeline
from inference_core.session import Session

from tests.models import tabular_model

BODY = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3], "data": [5, 5, 5]}]}).encode()


@pytest.fixture
def protocol(tmp_path: Path) -> OpenInference:
    manifests = [read_manifest(tabular_model(tmp_path, name)) for name in ("sizes-a", "sizes-b")]
    return OpenInference(Registry([opened(manifest) for manifest in manifests]), elements_max=1000)


def opened(manifest: Manifest) -> TensorPipeline:
    return TensorPipeline(manifest, Session(manifest.model_bytes, threads=1))


@pytest.mark.parametrize("version", [None, "1"])
def test_a_model_is_described_and_called_with_and_without_its_version(
    protocol: OpenInference, version: str | None
) -> None:
    assert protocol.metadata("sizes-a", version)["versions"] == ["1"]
    assert protocol.config("sizes-a", version)["name"] == "sizes-a"
    reply, timings_ms = protocol.infer("sizes-a", version, BODY, None)
    assert json.loads(reply.body)["outputs"][0]["data"] == [1]
    assert set(timings_ms) == {"decode", "infer", "encode"}


@pytest.mark.parametrize(("name", "version"), [("other", None), ("sizes", None), ("sizes-a", "2"), ("sizes-a", "one")])
def test_another_model_or_version_is_not_found(protocol: OpenInference, name: str, version: str | None) -> None:
    for call in (protocol.metadata, protocol.config, protocol.stats):
        with pytest.raises(ModelNotFound):
            call(name, version)
    with pytest.raises(ModelNotFound):
        protocol.infer(name, version, BODY, None)


def test_stats_tell_models_apart_and_count_refusals(protocol: OpenInference) -> None:
    with pytest.raises(InvalidTensor):
        protocol.infer("sizes-a", None, b"{}", None)
    first, second = protocol.stats()["model_stats"]
    assert (first["name"], first["inference_stats"]["fail"]["count"]) == ("sizes-a", 1)
    assert (second["name"], second["inference_stats"]["fail"]["count"]) == ("sizes-b", 0)
    assert protocol.stats("sizes-b")["model_stats"] == [second]
