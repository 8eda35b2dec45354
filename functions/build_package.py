"""Builds the function tier's upload, with the standard library and pip alone; stage.sh finds the Python 3.12 for it.

`build_package.py [MODEL or FAMILY]` fills `.python_packages` and `models` beside this file, which azd uploads with
the rest of the folder, writes the same as a zip, unpacks that, and measures a cold start from it.

Packages are compiled files without their sources. The package is mounted read-only, so what is not compiled here is
compiled again at every start; and azd leaves every `__pycache__` behind, so the compiled files take the sources' place.
"""

import argparse
import compileall
import fnmatch
import json
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
LOCK = PROJECT / "requirements" / "functions.txt"
MODEL = "breast-cancer-boosted"
ZIP = PROJECT / "build" / "functions.zip"
SITE = Path(".python_packages/lib/site-packages")
"""Where the platform's worker looks for packages."""
WWWROOT = Path("/home/site/wwwroot")
"""Where the platform mounts the upload: the path that tracebacks show."""
UPLOADED = ("numpy", "onnxruntime")
"""What of the lock is uploaded; README.md says why the rest must not be."""
PLATFORM = ("azure-functions", "markupsafe", "werkzeug")
"""What the platform's worker brings itself; here only for the measurement."""
TARGET = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.12", "--implementation", "cp")
UNUSED = (
    "*/tests",
    "*.pyi",
    "*.pxd",
    "*.a",
    "bin",
    "numpy/_core/include",
    "numpy/_core/tests",
    "numpy/f2py",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/WHEEL",
    "*.dist-info/*.txt",
)
"""Parts of the wheels that no request needs. Licences stay."""
COLD_STARTS = 5
FIRST_ANSWER = """
import sys, json
import azure.functions as func, function_app
name, body = sys.argv[1:]
url = "https://host/v1/models/" + name + "/predict"
reply = function_app.predict(func.HttpRequest("POST", url, route_params={"name": name}, body=body.encode()))
assert reply.status_code == 200, reply.get_body()
print(reply.get_body().decode())
"""


class PackageError(RuntimeError):
    """The package cannot be built; the message says why."""


def main() -> None:
    """Build, and say what came of it."""
    parser = argparse.ArgumentParser(description="Build the function tier's upload.")
    parser.add_argument("model", nargs="?", default=MODEL, help="model or family to bring along (%(default)s)")
    parser.add_argument("--models", type=Path, default=PROJECT / "shared" / "models", help="where it lies")
    parser.add_argument("--into", type=Path, default=HERE, help="folder to stage in (beside this file)")
    parser.add_argument("--zip", type=Path, default=ZIP, help="file to write (build/functions.zip)")
    options = parser.parse_args()
    try:
        models = chosen_models(options.models, options.model)
        stage(options.into, models)
        write_zip(options.zip, options.into)
        unpacked_bytes = sum(entry.file_size for entry in zipfile.ZipFile(options.zip).infolist())
        sys.stdout.write(
            f"{options.zip}: {options.zip.stat().st_size / 1e6:.1f} MB, {unpacked_bytes / 1e6:.0f} MB unpacked, "
            f"{', '.join(model.name for model in models)}\n{cold_start_line(options.zip, models[0])}\n"
        )
    except PackageError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from None


def chosen_models(folder: Path, name: str) -> list[Path]:
    """The model `name`, or all of the family `name`, below `folder`."""
    manifests = {path.parent: tomllib.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*/model.toml"))}
    found = [path for path, manifest in manifests.items() if name in (manifest["name"], manifest.get("family"))]
    if not found:
        raise PackageError(f"{folder} has neither a model nor a family {name!r}.")
    return found


def stage(folder: Path, models: Iterable[Path]) -> None:
    """Wheels, core and models below `folder`, in place of what an earlier run left there."""
    site = folder / SITE
    for old in (folder / SITE.parts[0], folder / "models"):
        shutil.rmtree(old, ignore_errors=True)
    install(UPLOADED, site, *TARGET)
    shutil.copytree(PROJECT / "shared" / "inference_core", site / "inference_core", ignore=_no_cache)
    _strip(site)
    _compile(site)
    for model in models:
        copy_model(model, folder / "models" / model.name)


def copy_model(model: Path, target: Path) -> None:
    """What a tier needs of the model folder `model`: its manifest, its graph and the files of its weights."""
    manifest = tomllib.loads((model / "model.toml").read_text("utf-8"))
    weights = [data["file"] for data in manifest.get("data", ())]
    for name in ("model.toml", manifest["file"], *weights):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model / name, target / name)


def install(names: Iterable[str], into: Path, *target: str) -> None:
    """The wheels of `names` as the lock pins and hashes them. pip takes its index from the machine's configuration."""
    pinned = re.split(r"\n(?=\S)", LOCK.read_text("utf-8"))
    wanted = [entry for entry in pinned if re.split("[=;\\s]", entry)[0] in names]
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text("\n".join(wanted) + "\n", "utf-8")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-qq",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ]
        checked = ["--only-binary=:all:", "--no-deps", "--no-compile", "--require-hashes", "-r", str(requirements)]
        command = [*pip, *target, *checked, "--target", str(into)]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 (our own arguments)
            raise PackageError(f"pip could not install {', '.join(names)}.")


def _no_cache(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]


def _strip(site: Path) -> None:
    for path in sorted(site.rglob("*"), reverse=True):
        name = path.relative_to(site).as_posix()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in UNUSED):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _compile(site: Path) -> None:
    """Every source below `site` becomes the compiled file that is imported in its place."""
    compiled = compileall.compile_dir(
        site,
        quiet=1,
        legacy=True,
        workers=0,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        stripdir=site,
        prependdir=WWWROOT / SITE,
    )
    if not compiled:
        raise PackageError("Not every source could be compiled.")
    for source in site.rglob("*.py"):
        source.unlink()


def write_zip(path: Path, staged: Path) -> None:
    """The app's own files and what was staged. The same input gives the same bytes: sorted, and without times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for source, name in sorted([*_app_files(), *_staged_files(staged)], key=lambda pair: pair[1]):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, source.read_bytes())


def _app_files() -> Iterator[tuple[Path, str]]:
    """The files of this folder that .funcignore leaves to the platform's tools."""
    ignored = (HERE / ".funcignore").read_text("utf-8").split()
    for path in HERE.iterdir():
        if path.is_file() and not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in ignored):
            yield path, path.name


def _staged_files(folder: Path) -> Iterator[tuple[Path, str]]:
    for top in (SITE.parts[0], "models"):
        for path in (folder / top).rglob("*"):
            if path.is_file():
                yield path, path.relative_to(folder).as_posix()


def cold_start_line(path: Path, model: Path) -> str:
    """A fresh process to its first answer, from the unpacked zip; not where the wheels do not run."""
    if sysconfig.get_platform() != "linux-x86_64":
        return "cold start: not measured, these wheels are for linux-x86_64"
    with tempfile.TemporaryDirectory() as scratch:
        wwwroot, worker = Path(scratch, "wwwroot"), Path(scratch, "worker")
        zipfile.ZipFile(path).extractall(wwwroot)
        install(PLATFORM, worker)
        compileall.compile_dir(worker, quiet=1, workers=0)  # as the platform's own copy is
        rows = json.loads((model / "golden.json").read_text("utf-8"))["rows"]
        body = json.dumps({"rows": rows[:1]})
        times_s = []
        for _ in range(COLD_STARTS + 1):
            started = time.perf_counter()
            first_answer(wwwroot, worker, model.name, body)
            times_s.append(time.perf_counter() - started)
    return f"cold start here: {statistics.median(times_s[1:]):.2f} s from a fresh process to its first answer"


def first_answer(wwwroot: Path, worker: Path, model: str, body: str, python: str = sys.executable) -> str:
    """What the unpacked package answers in a fresh process that sees nothing but it and the worker's own packages."""
    # The order in which the worker looks: the app's packages before its own.
    search = [str(wwwroot / SITE), str(worker), str(wwwroot)]
    code = f"import sys; sys.path[:0] = {search!r}\n{FIRST_ANSWER}"
    command = [python, "-I", "-S", "-B", "-c", code, model, body]
    ended = subprocess.run(command, cwd=wwwroot, env={}, capture_output=True, text=True, check=False)  # noqa: S603
    if ended.returncode:
        raise PackageError(f"The package does not answer:\n{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()
