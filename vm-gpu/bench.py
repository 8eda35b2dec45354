"""Measure the GPU tier on a GPU machine, from a bare checkout: `python3 vm-gpu/bench.py --out record.json`.

Nothing need be installed but Python, numpy and Pillow; what is missing besides comes from a folder of wheels
(`--wheels DIR`; `--needs` lists them), which are unpacked beside, not into, this machine's Python. README.md has the
sequence of commands. This file finds what the benchmark imports and hands over to `gpu_bench`, which measures.
"""

import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "build" / "gpu-bench" / "site"
SOURCES = ("shared", "container", "vm-gpu", ".")
LOCK, OWN_LOCK = ROOT / "requirements" / "gpu.txt", ROOT / "requirements" / "dev.txt"
OWN = ("faster-coco-eval",)
"""What the benchmark needs besides the service: it scores accuracy, which is left out without it."""


def main(arguments: list[str]) -> int:
    """Unpack the wheels, then run `python -m gpu_bench` with the remaining arguments."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--needs", action="store_true")
    options, rest = parser.parse_known_args(arguments)
    if options.needs:
        own = [pin for pin in needs(OWN_LOCK.read_text(encoding="utf-8")) if pin.partition("==")[0] in OWN]
        sys.stdout.write("\n".join([*needs(LOCK.read_text(encoding="utf-8")), *own]) + "\n")
        return 0
    if options.wheels and not unpacked(options.wheels, SITE):
        return 2
    environ = dict(os.environ)
    given = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    # What the caller put first stays first among the packages: an ONNX Runtime with CUDA wins over an installed one.
    environ["PYTHONPATH"] = os.pathsep.join([*(str(ROOT / folder) for folder in SOURCES), *given, str(SITE)])
    environ["LD_LIBRARY_PATH"] = os.pathsep.join([*cuda_folders([*given, str(SITE), *sys.path]), *_libraries(environ)])
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "gpu_bench", *rest], env=environ, check=False).returncode  # noqa: S603 - our own module


def needs(lock: str) -> list[str]:
    """`name==version` of every wheel that `lock` names for this Python."""
    pins = re.findall(
        r"^([\w.-]+(?:\[[\w,]+\])?==[\w.]+)(?: ; (python_full_version [<>]=? '[\d.]+'))?", lock, re.MULTILINE
    )
    return [pin for pin, marker in pins if not marker or _holds(marker)]


def _holds(marker: str) -> bool:
    """Whether a marker such as `python_full_version >= '3.12'` holds here."""
    _, relation, version = marker.split()
    wanted = tuple(int(part) for part in version.strip("'").split("."))
    here = sys.version_info[: len(wanted)]
    return {"<": here < wanted, ">=": here >= wanted, ">": here > wanted, "<=": here <= wanted}[relation]


def unpacked(wheels: Path, site: Path) -> bool:
    """Whether all wheels of the folder could be installed into `site`: together, or else one by one, saying which
    could not.
    """
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files or not _install(files, site):
        bad = [file for file in files if not _install([file], site)]
        sys.stderr.write(
            f"error: of {len(files)} wheels in {wheels}, not installed: {', '.join(bad) or 'none found'}\n"
        )
        return bool(files) and not bad
    return True


def _install(files: list[str], site: Path) -> bool:
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--upgrade", "--target", str(site), *files]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - pip, with files of the caller's folder


def cuda_folders(paths: list[str]) -> list[str]:
    """The folders of CUDA's libraries in installed wheels. ONNX Runtime looks for them beside itself alone, which does
    not help where it lies in a folder of its own.
    """
    return [str(folder) for path in dict.fromkeys(paths) if path for folder in sorted(Path(path).glob("nvidia/*/lib"))]


def _libraries(environ: dict[str, str]) -> list[str]:
    return [path for path in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
