"""Deploy-time settings: any mapping of strings to one frozen dataclass. This file reads no environment itself;
each entry file hands its own `os.environ` in, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from inference_core.errors import SettingsError

PREFIX = "INFERENCE_"
MEBIBYTE = 1 << 20
_MAY_BE_ZERO = ("THREADS", "QUEUE_MAX", "FAULT_DELAY_S")


@dataclass(frozen=True)
class Settings:
    """Every setting, named as in the environment less the prefix (`models_dir` is INFERENCE_MODELS_DIR)."""

    models_dir: Path = Path("shared/models")
    models: tuple[str, ...] = ()
    """Names of the models or families to serve; empty: every one that this tier can."""
    threads: int = 0
    """ONNX Runtime threads in one run; 0: all the cores that are really ours, shared among the slots."""
    slots: int = 1
    """Requests that compute at the same time."""
    queue_max: int = 16
    """Requests that may wait for a slot; the next one is refused at once."""
    body_bytes_max: int = 64 * MEBIBYTE
    pixels_max: int = 64_000_000
    """Pixels of a picture, read from its header before anything is decoded (8K is 33 million)."""
    rows_max: int = 10_000
    """Rows of one tabular request."""
    elements_max: int = 50_000_000
    """Elements of one tensor in a call by tensor (`/v2`)."""
    allow_cpu: bool = False
    """GPU tier only: start without CUDA as an openly declared CPU stand-in."""
    fault_delay_s: float = 0.0
    """A fault switch for load tests: seconds added to every prediction."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`, defaults where a key is absent or empty. Raises SettingsError naming key and value."""
    given: dict[str, Any] = {}
    for field in fields(Settings):
        key = PREFIX + field.name.upper()
        if text := environ.get(key, "").strip():
            given[field.name] = _parsed(key, text, field.type)
    return Settings(**given)


def _parsed(key: str, text: str, kind: Any) -> Any:
    if kind is bool:
        return _flag(key, text)
    if kind is Path:
        return Path(text)
    if kind == tuple[str, ...]:
        return tuple(name.strip() for name in text.split(",") if name.strip())
    try:
        number = kind(text)
    except ValueError:
        raise SettingsError(f"{key}={text!r} is not {'a whole number' if kind is int else 'a number'}.") from None
    least = 0 if key.removeprefix(PREFIX) in _MAY_BE_ZERO else 1
    if not least <= number < float("inf"):
        raise SettingsError(f"{key}={text!r} must be a finite number, {least} or more.")
    return number


def _flag(key: str, text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise SettingsError(f"{key}={text!r} is neither 1 nor 0.")
