"""A model folder appears whole or not at all: written aside, flushed to the disk, and renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intake.errors import Refused

_ASIDE = ".adding"
"""Folder beside the models for what is not one yet. What lies in it lies a level too deep to be found and served."""


@contextmanager
def staged(models_dir: Path, name: str, *, replace: bool) -> Iterator[Path]:
    """A new folder to fill; it becomes `models_dir / name` when the block ends well, and is removed when it does not.

    Raises Refused, before and after, when a model of that name is there and is not to be replaced.
    """
    target = models_dir / name
    _refuse_existing(target, replace=replace)
    fresh = not models_dir.exists()
    aside = models_dir / _ASIDE
    aside.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=aside))
    folder = scratch / "new"
    folder.mkdir()
    try:
        yield folder
        _flush(folder)
        _refuse_existing(target, replace=replace)
        _swap(folder, target, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _remove_empty(aside)
        if fresh:
            _remove_empty(models_dir)


def _refuse_existing(target: Path, *, replace: bool) -> None:
    if target.exists() and not replace:
        raise Refused(f"{target} is there already; give another --name, or --replace it.")


def _swap(folder: Path, target: Path, old: Path) -> None:
    if target.exists():
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    _flush_entry(target.parent)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        _flush_entry(path)
    _flush_entry(folder)


def _flush_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # it holds another model
        return
