"""Rules about the code itself: small files, short functions, one place for the environment, nothing private."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PRODUCT = ("shared", "container", "vm-gpu", "functions", "loadtest", "infra")
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
ENVIRONMENT_READERS = {
    "functions/function_app.py",
    "functions/local_host.py",
    "container/image_api/main.py",
    "container/image_api/worker.py",
    "vm-gpu/gpu_api/worker.py",
    "shared/inference_jobs/__main__.py",
    "vm-gpu/gpu_api/main.py",
    "vm-gpu/bench.py",
    "vm-gpu/gpu_bench/__main__.py",
    "shared/tiers/serve.py",
    "loadtest/steady.py",
    "loadtest/trial.py",
    "shared/tiers/__main__.py",
    "infra/__main__.py",
    # It hands its own on to the processes that it starts.
    "vm-gpu/gpu_api/picture_process.py",
    # ONNX Runtime's telemetry switch must be set before its import.
    "shared/inference_core/session.py",
}


def tracked(*patterns: str) -> list[Path]:
    """Files git tracks or would, below the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    lines = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [PROJECT / line for line in lines if (PROJECT / line).is_file()]


PYTHON_FILES = [path for path in tracked("*.py") if path.relative_to(PROJECT).parts[0] in PRODUCT]


def named(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("path", PYTHON_FILES, ids=named)
def test_a_file_is_short_and_so_are_its_functions(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= FILE_LINES_MAX
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=named)
def test_a_public_name_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert ast.get_docstring(tree), "the module has no docstring"
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", PYTHON_FILES, ids=named)
def test_only_entry_files_read_the_environment(path: Path) -> None:
    names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert named(path) in ENVIRONMENT_READERS or not names & {"environ", "getenv"}


def test_the_function_package_needs_the_core_alone() -> None:
    tree = ast.parse((PROJECT / "functions" / "function_app.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    tops = {name.split(".")[0] for name in imported}
    assert tops & {"inference_core", "azure"} == {"inference_core", "azure"}
    assert not tops & {"inference_http", "fastapi", "PIL", "training", "loadtest", "tier_planner", "onnxruntime"}


def test_no_file_names_a_package_index_or_a_path_of_one_machine() -> None:
    private = re.compile(
        r"https?://[A-Za-z0-9.-]*(pypi|pythonhosted|npmjs|debian|crates)[A-Za-z0-9.-]*|(?<![\w.-])/(work|farm|root)/"
    )
    for path in tracked():
        if path.suffix in {".onnx", ".jpg", ".png"} or path == Path(__file__):
            continue
        found = private.search(path.read_text(errors="replace"))
        assert found is None, f"{named(path)}: {found and found.group()}"


def test_the_repository_stays_small() -> None:
    assert sum(path.stat().st_size for path in tracked()) < 60e6


def test_the_locks_are_hashed_and_agree_on_one_runtime_version() -> None:
    versions = set()
    for lock in sorted((PROJECT / "requirements").glob("*.txt")):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        versions |= {
            m.rsplit(".", 1)[0] for m in re.findall(r"^onnxruntime(?:-gpu)?(?:\[.*\])?==([\d.]+)", text, re.MULTILINE)
        }
    assert len(versions) == 1


@pytest.mark.parametrize(
    ("contract", "only"),
    [("Only session opens ONNX Runtime", "session"), ("Only images imports an image library", "images")],
)
def test_what_only_one_module_of_the_core_may_import_is_forbidden_to_all_others(contract: str, only: str) -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (named_modules,) = (set(each["source_modules"]) for each in contracts if each["name"] == contract)
    core = {path.stem for path in (PROJECT / "shared" / "inference_core").glob("*.py")} - {"__init__", only}
    assert {f"inference_core.{module}" for module in core} <= named_modules
