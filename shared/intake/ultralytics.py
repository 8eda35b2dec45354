"""What the exporter of Ultralytics (YOLOv5 to YOLO26) writes into its files: all of it text of Python literals."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Export:
    """Read from the metadata of a file; empty, 0 and the usual stride where they say nothing."""

    task: str = ""
    labels: tuple[str, ...] = ()
    stride: int = 32
    sides_px: tuple[int, ...] = ()
    """Height and width of the picture that it was exported for."""


def read_export(metadata: Mapping[str, str]) -> Export:
    """The export's facts. What cannot be read counts as not said: other exporters use the same names."""
    names = _literal(metadata.get("names"))
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    sides = _literal(metadata.get("imgsz"))
    sides = [sides, sides] if isinstance(sides, int) else sides
    stride = _literal(metadata.get("stride"))
    return Export(
        task=metadata.get("task", ""),
        labels=tuple(map(str, names)) if isinstance(names, list) else (),
        stride=stride if isinstance(stride, int) and stride > 0 else Export.stride,
        sides_px=tuple(sides) if isinstance(sides, list) and all(isinstance(side, int) for side in sides) else (),
    )


def _literal(text: str | None) -> Any:
    try:
        return ast.literal_eval(text or "None")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
