"""What the benchmark stands on: wheels without a network, equal answers, a load that does not wait for answers."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gpu_bench.client import Client
from gpu_bench.equality import compared
from gpu_bench.halves import with_halves
from inference_core.manifest import read_manifest
from inference_core.registry import read_manifests

from tests.conftest import PROJECT
from tests.loadtest.practice_tier import Behaviour, PracticeTier

LOCK = """
fastapi==0.165.0 \\
    --hash=sha256:00
numpy==2.4.6 ; python_full_version < '3.1' \\
    --hash=sha256:00
numpy==2.5.5 ; python_full_version >= '3.2' \\
    --hash=sha256:00
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """`vm-gpu/bench.py`, which is no package's."""
    spec = importlib.util.spec_from_file_location("bench_script", PROJECT / "vm-gpu" / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, text: str = "VALUE = 7\n") -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", text)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def test_the_wheels_that_are_needed_are_those_of_the_lock_for_this_python(script: ModuleType) -> None:
    assert script.needs(LOCK) == ["fastapi==0.165.0", "numpy==2.5.5"]


def test_the_list_of_needs_is_of_pins_and_holds_the_service_and_the_scorer() -> None:
    command = [sys.executable, str(PROJECT / "vm-gpu" / "bench.py"), "--needs"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    names = [pin.partition("==")[0] for pin in said if "==" in pin]
    assert len(names) == len(said) == len(set(names))
    assert {"fastapi", "uvicorn", "orjson", "onnxruntime-gpu", "nvidia-cudnn-cu13", "faster-coco-eval"} <= set(names)


def test_wheels_are_unpacked_without_a_network_and_beside_this_python(script: ModuleType, tmp_path: Path) -> None:
    for name in ("bench_part_one", "bench_part_two"):
        wheel(tmp_path, name)
    assert script.unpacked(tmp_path, tmp_path / "site")
    assert (tmp_path / "site" / "bench_part_one.py").is_file()
    assert (tmp_path / "site" / "bench_part_two.py").is_file()
    assert importlib.util.find_spec("bench_part_one") is None


def test_one_bad_wheel_is_named_and_the_others_are_there(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel(tmp_path, "bench_part_one")
    (tmp_path / "broken-1.0-py3-none-any.whl").write_text("no zip")
    assert not script.unpacked(tmp_path, tmp_path / "site")
    assert (tmp_path / "site" / "bench_part_one.py").is_file()
    assert "broken-1.0-py3-none-any.whl" in capsys.readouterr().err


def test_an_empty_folder_of_wheels_is_no_folder_of_wheels(script: ModuleType, tmp_path: Path) -> None:
    assert not script.unpacked(tmp_path, tmp_path / "site")


def test_cuda_libraries_are_found_in_any_folder_of_packages(script: ModuleType, tmp_path: Path) -> None:
    for part in ("one/nvidia/cu13/lib", "two/nvidia/cudnn/lib"):
        (tmp_path / part).mkdir(parents=True)
    found = script.cuda_folders([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "one"), "", "absent"])
    assert found == [str(tmp_path / "one/nvidia/cu13/lib"), str(tmp_path / "two/nvidia/cudnn/lib")]


def found(score: float, left: float, label: str = "open") -> dict[str, Any]:
    return {"label": label, "score": score, "box": [left, 0.0, left + 10.0, 10.0]}


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ([found(0.9, 0.0)], (0, 0, 0.0, 0.0, True)),
        ([found(0.895, 0.5)], (0, 0, 0.005, 0.5, True)),
        ([found(0.8, 0.0)], (0, 0, 0.1, 0.0, False)),
        ([found(0.9, 3.0)], (0, 0, 0.0, 3.0, False)),
        ([found(0.9, 500.0)], (1, 1, 0.0, 0.0, False)),
        ([found(0.9, 0.0, "short")], (1, 1, 0.0, 0.0, False)),
        ([], (1, 0, 0.0, 0.0, False)),
        # Just at the threshold: whether it is reported is rounding, not an answer.
        ([found(0.9, 0.0), found(0.405, 50.0)], (0, 0, 0.0, 0.0, True)),
        ([found(0.9, 0.0), found(0.5, 50.0)], (0, 1, 0.0, 0.0, False)),
    ],
)
def test_two_answers_are_the_same_within_a_tolerance(
    here: list[dict[str, Any]], expected: tuple[int, int, float, float, bool]
) -> None:
    manifest = read_manifest(PROJECT / "shared" / "models" / "board-defects-n")
    row = compared(manifest, [found(0.9, 0.0)], here)
    differences = round(row.score_difference, 6), round(row.box_difference_px, 6)
    assert (row.missing, row.extra, *differences, row.within) == expected


def test_arrivals_are_sent_when_due_whatever_became_of_those_before() -> None:
    """Each answer takes longer than the whole window: a client that waited would send but one."""
    with PracticeTier(Behaviour(service_s=1.0)) as tier:
        samples = Client(tier.port, "board", [b"jpeg"], patience_s=10).load(10, 0.8, seed=1)
    assert [sample.status for sample in samples] == [200] * 8
    assert [sample.error for sample in samples] == [""] * 8
    assert all(sample.latency_ms is not None and sample.latency_ms >= 1000 for sample in samples)
    assert all(0 <= sample.due_s < 0.8 for sample in samples)
    assert samples[0].stages_ms == {"decode": 250.0, "infer": 750.0}


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (Behaviour(status=503), 503, "status 503"),
        (Behaviour(prediction=False), 200, "status 200 without detections"),
        (Behaviour(service_s=2.0), 0, "TimeoutError: timed out"),
    ],
    ids=("refused", "no prediction", "too late"),
)
def test_anything_but_a_prediction_is_an_error(behaviour: Behaviour, status: int, error: str) -> None:
    with PracticeTier(behaviour) as tier:
        (sample,) = Client(tier.port, "board", [b"jpeg"], patience_s=0.5).load(10, 0.1, seed=1)
    assert (sample.status, sample.error) == (status, error)
    assert (sample.latency_ms is None) == (status == 0)


def test_a_closed_loop_counts_answers_alone() -> None:
    with PracticeTier(Behaviour(service_s=0.05, slots=2)) as tier:
        rate_per_s = Client(tier.port, "board", [b"jpeg"], patience_s=5).closed_rate_per_s(4, 1.0)
    assert 5 < rate_per_s <= 2 / 0.05
    with PracticeTier(Behaviour(status=503)) as tier:
        assert Client(tier.port, "board", [b"jpeg"], patience_s=5).closed_rate_per_s(2, 0.2) == 0


def test_float16_variants_are_made_beside_the_models_that_lack_them(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(PROJECT / "shared" / "models" / "board-defects-n", models / "board-defects-n")
    broken = models / "board-defects-s"
    shutil.copytree(models / "board-defects-n", broken)
    (broken / "model.toml").write_text((broken / "model.toml").read_text().replace("defects-n", "defects-s"))
    (broken / "model.onnx").write_bytes(b"no graph")
    folder, missing = with_halves(models, tmp_path / "work", os.environ)
    assert [name.partition(": ")[0] for name in missing] == ["board-defects-s-fp16"]
    names = [manifest.name for manifest in read_manifests(folder)]
    assert names == ["board-defects-n", "board-defects-n-fp16", "board-defects-s"]
    assert sorted(path.name for path in models.iterdir()) == ["board-defects-n", "board-defects-s"]
    again, missing = with_halves(folder, tmp_path / "work-again", os.environ)
    assert len(read_manifests(again)) == 3
    assert len(missing) == 1, "the one that was made is not made again"
