"""The upload that stage.sh builds: complete by itself, compiled, small, without what the platform brings."""

import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_package
import pytest

from tests.conftest import PROJECT

FUNCTIONS = PROJECT / "functions"
MODEL = build_package.MODEL
SITE = build_package.SITE.as_posix()
ZIP_BYTES_MAX = 60e6


def python_312() -> str:
    """A Python 3.12, where one is found as stage.sh finds it."""
    found = [*Path.home().glob(".pyenv/versions/3.12.*/bin/python")]
    for candidate in (os.environ.get("PYTHON312", ""), "python3.12", sys.executable, *map(str, found)):
        check = [candidate, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 12))"]
        try:
            if candidate and subprocess.run(check, capture_output=True, check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    pytest.skip("no Python 3.12 is here, which the package is compiled for")


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, built as azd's hook builds it but into a folder of its own."""
    folder = tmp_path_factory.mktemp("upload")
    command = [str(FUNCTIONS / "stage.sh"), "--into", str(folder / "staged"), "--zip", str(folder / "functions.zip")]
    built = subprocess.run(
        command, env=os.environ | {"PYTHON312": python_312()}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    assert " MB" in built.stdout
    assert "cold start" in built.stdout
    return folder / "functions.zip"


@pytest.fixture(scope="module")
def names(upload: Path) -> list[str]:
    return zipfile.ZipFile(upload).namelist()


@pytest.fixture
def wwwroot(upload: Path, tmp_path: Path) -> Iterator[Path]:
    """The zip alone, unpacked into an empty folder that cannot be written."""
    folder = tmp_path / "wwwroot"
    zipfile.ZipFile(upload).extractall(folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)  # so that it can be cleared away


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the platform's worker brings: azure-functions and what that needs."""
    folder = tmp_path_factory.mktemp("worker")
    code = f"import build_package as b; from pathlib import Path; b.install(b.PLATFORM, Path({str(folder)!r}))"
    subprocess.run([python_312(), "-c", code], cwd=FUNCTIONS, check=True)
    return folder


@pytest.mark.slow
def test_it_answers_from_a_read_only_folder_under_the_platforms_python(wwwroot: Path, worker: Path) -> None:
    golden: dict[str, Any] = json.loads((PROJECT / "shared" / "models" / MODEL / "golden.json").read_text())
    before = sorted(wwwroot.rglob("*"))
    body = json.dumps({"rows": golden["rows"]})
    answer = json.loads(build_package.first_answer(wwwroot, worker, MODEL, body, python_312()))
    assert sorted(wwwroot.rglob("*")) == before
    for found, wanted in zip(answer["predictions"], golden["predictions"], strict=True):
        assert found["label"] == wanted["label"]
        assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=golden["tolerance"]["probability"])


@pytest.mark.slow
def test_it_holds_the_app_its_packages_and_one_model_and_nothing_else(names: list[str]) -> None:
    app = {path.name for path in FUNCTIONS.glob("*.py")} - {"build_package.py", "local_host.py", "measure.py"}
    assert {name.split("/")[0] for name in names} == {".python_packages", "host.json", "models"} | app
    assert {name for name in names if name.startswith("models/")} == {
        f"models/{MODEL}/model.toml",
        f"models/{MODEL}/model.onnx",
    }
    packages = {name.removeprefix(f"{SITE}/").split("/")[0] for name in names if name.startswith(SITE)}
    installed = {package for package in packages if not package.endswith(".dist-info")}
    assert installed == {"inference_core", "numpy", "numpy.libs", "onnxruntime"}


@pytest.mark.slow
def test_the_core_is_the_repositorys(names: list[str]) -> None:
    ours = {path.stem for path in (PROJECT / "shared" / "inference_core").glob("*.py")}
    packed = {Path(name).stem for name in names if name.startswith(f"{SITE}/inference_core/")}
    assert packed == ours


@pytest.mark.slow
def test_packages_are_compiled_and_azd_leaves_none_of_it_behind(names: list[str]) -> None:
    in_packages = [name for name in names if name.startswith(SITE)]
    assert not [name for name in in_packages if name.endswith((".py", ".pyi"))]
    assert [name for name in in_packages if name.endswith(".pyc")]
    assert not [name for name in names if "__pycache__" in name], "azd leaves every folder of this name out"
    assert not [name for name in in_packages if "/tests/" in name]


@pytest.mark.slow
def test_it_is_small(upload: Path) -> None:
    assert upload.stat().st_size <= ZIP_BYTES_MAX


def test_a_family_brings_all_its_models() -> None:
    models = PROJECT / "shared" / "models"
    family = build_package.chosen_models(models, "breast-cancer")
    assert [path.name for path in family] == [path.name for path in sorted(models.glob("breast-cancer-*"))]
    assert [path.name for path in build_package.chosen_models(models, MODEL)] == [MODEL]


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(build_package.PackageError, match="neither a model nor a family 'breast'"):
        build_package.chosen_models(PROJECT / "shared" / "models", "breast")


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    (staged / "models" / "one").mkdir(parents=True)
    model = staged / "models" / "one" / "model.onnx"
    model.write_bytes(b"a model")
    build_package.write_zip(tmp_path / "first.zip", staged)
    os.utime(model, (0, 0))
    build_package.write_zip(tmp_path / "second.zip", staged)
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_the_platforms_tools_find_no_requirement_to_install() -> None:
    lines = (FUNCTIONS / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert all(line.startswith("#") for line in lines)


def test_a_model_comes_with_the_files_of_its_weights_and_nothing_else(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "parts").mkdir(parents=True)
    for name in ("model.onnx", "parts/weights.bin", "golden.json"):
        (model / name).write_text(name)
    (model / "model.toml").write_text('file = "model.onnx"\ndata = [{file = "parts/weights.bin", sha256 = ""}]\n')
    build_package.copy_model(model, tmp_path / "copy")
    copied = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*")}
    assert copied == {"model.toml", "model.onnx", "parts/weights.bin"}
