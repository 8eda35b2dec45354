"""Float16 variants of the models to measure, made where they are missing, beside the others and not among them."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from inference_core.registry import read_manifests

from gpu_bench.context import FLOAT32, precision_of

SUFFIX = "-fp16"


def with_halves(models: Path, folder: Path, inherited: Mapping[str, str]) -> tuple[Path, list[str]]:
    """A folder of the models in `models` (links) and of float16 variants of its float32 detectors, each made in a
    process of its own; and what could not be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifests = read_manifests(models)
    for manifest in manifests:
        link = folder / manifest.folder.name
        link.unlink(missing_ok=True)
        link.symlink_to(manifest.folder.resolve(), target_is_directory=True)
    there = {manifest.name for manifest in manifests}
    making = {
        manifest.name: _start(manifest.folder, folder / f"{manifest.name}{SUFFIX}", inherited)
        for manifest in manifests
        if manifest.task == "detection" and precision_of(manifest) == FLOAT32 and manifest.name + SUFFIX not in there
    }
    said = {name: (process.communicate()[0], process.returncode) for name, process in making.items()}
    return folder, [f"{name}{SUFFIX}: {text.strip()[-300:]}" for name, (text, status) in said.items() if status]


def _start(model: Path, out: Path, inherited: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "training.detector.half", "--model", str(model), "--out", str(out)]
    return subprocess.Popen(  # noqa: S603 - our own module
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(inherited)
    )
