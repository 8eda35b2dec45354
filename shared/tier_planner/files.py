"""Files of JSON and TOML: read with errors that name the file, written whole or not at all."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tier_planner.tables import TableError


def read_toml(path: Path) -> dict[str, Any]:
    """The document. Raises TableError when it cannot be read or is no TOML."""
    document: dict[str, Any] = _read(path, tomllib.loads)
    return document


def read_json(path: Path) -> Any:
    """The document, whatever its kind. Raises TableError when it cannot be read or is no JSON."""
    return _read(path, json.loads)


def write_json(path: Path, document: object) -> None:
    """In folders that are made where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(document, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Whoever reads `path` meanwhile has it as it was or as it will be."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _read(path: Path, loads: Callable[[str], Any]) -> Any:
    try:
        return loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # malformed, or not UTF-8
        raise TableError(f"{path}: {error}") from error
