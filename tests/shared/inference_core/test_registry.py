"""Models are found by name and by family; a tier serves what it can and says what it cannot."""

import json
import shutil
import time
from pathlib import Path

import pytest
from inference_core.errors import InvalidRequest, ManifestError, ModelNotFound, SettingsError
from inference_core.manifest import Manifest
from inference_core.registry import Pipeline, Registry, TensorPipeline, describe, load_models
from inference_core.session import Session
from inference_core.settings import Settings
from inference_core.tabular import TabularPipeline

from tests.models import tabular_model

ROW = json.dumps({"rows": [{"length": 1, "width": 1, "weight": 1}]}).encode()


def open_tabular(manifest: Manifest) -> Pipeline:
    return TabularPipeline(manifest, Session(manifest.model_bytes, threads=1), rows_max=10)


def load(models_dir: Path, *names: str, delay_s: float = 0.0) -> Registry:
    settings = Settings(models_dir=models_dir, models=names, fault_delay_s=delay_s)
    return load_models(settings, {"classification": open_tabular})


def test_a_tier_serves_the_models_whose_task_it_knows(models_dir: Path) -> None:
    assert [pipeline.manifest.name for pipeline in load(models_dir)] == ["sizes-linear"]


def test_a_model_is_found_by_name_and_by_family(models_dir: Path) -> None:
    registry = load(models_dir)
    assert registry.find("sizes-linear") is registry.find("sizes")


def test_a_family_answers_with_its_most_accurate_variant(models_dir: Path) -> None:
    tabular_model(models_dir, "sizes-better", accuracy=0.99)
    tabular_model(models_dir, "sizes-worse", accuracy=0.5)
    assert load(models_dir).find("sizes").manifest.name == "sizes-better"


def test_the_variants_of_a_family_are_told_apart_from_a_model_of_its_name(models_dir: Path) -> None:
    tabular_model(models_dir, "sizes-better", accuracy=0.99)
    assert {p.manifest.name for p in load(models_dir).variants("sizes")} == {"sizes-linear", "sizes-better"}
    assert load(models_dir).variants("sizes-better") == []
    tabular_model(models_dir, "sizes", family="sizes", accuracy=0.1)
    assert load(models_dir).variants("sizes") == []
    assert load(models_dir).find("sizes").manifest.name == "sizes"


def test_an_unknown_name_says_what_is_served(models_dir: Path) -> None:
    with pytest.raises(ModelNotFound, match=r'"squares-n" is served here; served: sizes-linear\.'):
        load(models_dir).find("squares-n")


def test_settings_choose_models_by_name_or_family(models_dir: Path) -> None:
    tabular_model(models_dir, "shoes-linear", family="shoes")
    assert [p.manifest.name for p in load(models_dir, "shoes")] == ["shoes-linear"]
    assert [p.manifest.name for p in load(models_dir, "sizes-linear")] == ["sizes-linear"]


def test_a_chosen_model_that_cannot_be_served_stops_the_start(models_dir: Path) -> None:
    with pytest.raises(SettingsError, match="INFERENCE_MODELS names 'squares-n'"):
        load(models_dir, "squares-n")


def test_an_empty_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="INFERENCE_MODELS_DIR"):
        load(tmp_path)


def test_an_altered_model_stops_the_start(models_dir: Path) -> None:
    shutil.copy(models_dir / "squares-n" / "model.onnx", models_dir / "sizes-linear" / "model.onnx")
    with pytest.raises(ManifestError, match="altered"):
        load(models_dir)


def test_the_fault_switch_delays_each_answer_and_changes_nothing_else(models_dir: Path) -> None:
    quick, slow = load(models_dir).find("sizes"), load(models_dir, delay_s=0.05).find("sizes")
    started = time.monotonic()
    late = slow.predict(ROW)
    assert time.monotonic() - started >= 0.05
    assert late.fields == quick.predict(ROW).fields
    assert late.timings_ms["fault"] == 50


def test_a_description_has_what_a_client_needs_to_call_the_model(models_dir: Path) -> None:
    described = describe(load(models_dir).find("sizes").manifest)
    assert described["task"] == "classification"
    assert described["columns"] == ["length", "width", "weight"]
    assert described["column_types"] == ["float32"] * 3
    assert described["accuracy"] == {"metric": "accuracy", "value": 0.9, "data": "none"}


def test_a_tensor_model_says_how_it_is_called(models_dir: Path) -> None:
    manifest = load(models_dir).find("sizes").manifest
    with pytest.raises(InvalidRequest, match="POST /v2/models/sizes-linear/infer"):
        TensorPipeline(manifest, Session(manifest.model_bytes, threads=1)).predict(ROW)
