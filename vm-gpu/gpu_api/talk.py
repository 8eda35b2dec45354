"""What the service and a process that reads its pictures say to each other: a `tiled.PictureModel`, where it is not
known yet, and a picture for it; tiles and their outputs in turn; the answer, a `results.Prediction`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """To the process: the first `size` bytes of the memory are a picture."""

    model: str
    size: int
    scale: float


@dataclass(frozen=True, slots=True)
class Pixels:
    """To the process, in the place of `Picture`: the memory holds one that the service has decoded, uint8."""

    model: str
    shape: tuple[int, ...]
    width: int
    height: int
    scale: float
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ready:
    """From the process, once: it takes pictures."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """From the process: the memory holds tiles to run; `done` of the picture's `of` tiles were run before."""

    shape: tuple[int, ...]
    dtype: str
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class Outputs:
    """To the process: the memory holds what the run of its tiles gave, float32."""

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """To the process, in the place of outputs: nobody wants this picture's answer any more."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From the process: what it raised on this picture."""

    error: Exception
