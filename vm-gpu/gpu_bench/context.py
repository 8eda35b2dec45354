"""What a section is given: where the models and pictures are, how long it may take, where its rows go."""

import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from gpu_api.main import cuda_slots
from inference_core.cpu import usable_cores
from inference_core.manifest import DetectionOutput, ImageInput, Manifest
from inference_core.registry import read_manifests
from inference_core.session import Provider

from gpu_bench.record import CUT, DONE, FAILED, SKIPPED
from gpu_bench.rows import Row

IMPORTANCE = ("n", "l", "s", "m", "x")
"""The smallest and the largest variant first: a run that is cut short has them."""
PRIMARY = 2
PRECISIONS = {"fp16": "float16", "int8": "int8"}
FLOAT32 = "float32"
SHOWN_CHARS_MAX = 60
"""Of one value, where a row is printed; the record holds all of it."""


class NotHere(RuntimeError):
    """A section cannot be measured on this machine; the message says what it lacks."""


@dataclass(frozen=True)
class Plan:
    """What the command line asked for; it travels to each section's process as JSON."""

    provider: Provider
    models: str
    folder: str
    """Pictures, logs and rows lie here."""
    picture_px: tuple[int, int]
    """Width and height of a picture."""
    picture_count: int
    batches: tuple[int, ...]
    window_s: float
    """How long one row of throughput is measured."""
    board_count: int
    """Boards whose accuracy is measured."""
    load_s: float
    """How long the service is loaded at one rate."""


@dataclass
class Context:
    """A plan, and the time that one section has."""

    plan: Plan
    rows_file: Path
    inherited: Mapping[str, str]
    """The environment of a process that it starts."""
    ends: float
    """When the section's time is over, on the clock of `monotonic`."""
    left_out: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def cuda(self) -> bool:
        """Whether the GPU computes, or the CPU in its place."""
        return self.plan.provider == "cuda"

    @property
    def cores(self) -> int:
        """Cores that are ours."""
        return usable_cores()

    @property
    def callers(self) -> int:
        """How many ask at the same time, where many do: as many as the tier has slots for by itself."""
        return cuda_slots()

    def fits(self, need_s: float, what: str) -> bool:
        """Whether `need_s` more seconds are left; where not, `what` is noted as left out."""
        if monotonic() + need_s <= self.ends:
            return True
        self.left_out.append(what)
        return False

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A part of the section whose failure is noted and costs the others nothing."""
        try:
            yield
        except NotHere:
            raise
        except Exception as error:
            traceback.print_exc()
            self.failures.append(f"{what}: {type(error).__name__}: {error}")

    def add(self, row: Row) -> None:
        """Keep a row: it is on disk before the next one is measured."""
        self._write({"row": asdict(row)})
        sys.stdout.write(shown(row) + "\n")
        sys.stdout.flush()

    def end(self, error: Exception | None = None) -> None:
        """Keep how the section ended. `error` is what ended it early."""
        late = [f"no time for {', '.join(self.left_out)}"] if self.left_out else []
        if isinstance(error, NotHere):
            state, reasons = SKIPPED, [str(error)]
        elif error or self.failures:
            own = [f"{type(error).__name__}: {error}"] if error else []
            state, reasons = FAILED, [*self.failures, *own, *late]
        else:
            state, reasons = CUT if late else DONE, late
        self._write({"end": {"state": state, "reason": "; ".join(reasons)}})

    def _write(self, entry: dict[str, Any]) -> None:
        with self.rows_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def models(self, precisions: Sequence[str] = (FLOAT32, "float16")) -> list[Manifest]:
        """The detectors to measure, the most important first: `n` and `l` in each precision, then the others."""
        found = [
            manifest
            for manifest in read_manifests(Path(self.plan.models))
            if manifest.task == "detection" and precision_of(manifest) in precisions
        ]
        return sorted(found, key=lambda manifest: _order(manifest, precisions))

    def pictures(self, suffix: str = "jpg") -> list[bytes]:
        """The pictures as bytes of files; `bmp` are the same ones with nothing to decompress."""
        return [path.read_bytes() for path in sorted(Path(self.plan.folder).glob(f"board-*.{suffix}"))]


def precision_of(manifest: Manifest) -> str:
    """What the graph computes in, as the model's name says."""
    return next((precision for mark, precision in PRECISIONS.items() if f"-{mark}" in manifest.name), FLOAT32)


def plain_variant(manifest: Manifest) -> str:
    """The variant less its precision: `n` of `n-fp16`."""
    return manifest.variant.partition("-")[0]


def is_primary(manifest: Manifest) -> bool:
    """Whether it is one of the two variants that the goals are about; the others get fewer rows."""
    return _rank(manifest) < PRIMARY


def _rank(manifest: Manifest) -> int:
    variant = plain_variant(manifest)
    return IMPORTANCE.index(variant) if variant in IMPORTANCE else len(IMPORTANCE)


def _order(manifest: Manifest, precisions: Sequence[str]) -> tuple[bool, int, int]:
    return not is_primary(manifest), precisions.index(precision_of(manifest)), _rank(manifest)


def parts(manifest: Manifest) -> tuple[ImageInput, DetectionOutput]:
    """Input and output of a detector, by their types."""
    assert isinstance(manifest.input, ImageInput)
    assert isinstance(manifest.output, DetectionOutput)
    return manifest.input, manifest.output


def shown(row: Row) -> str:
    """A row in one line."""
    cells = []
    for name, value in asdict(row).items():
        if isinstance(value, float):
            cells.append(f"{name}={value:.4g}")
        elif isinstance(value, dict):
            cells.append(f"{name}=" + ",".join(f"{stage}:{ms:.3g}" for stage, ms in value.items()))
        elif not isinstance(value, list | tuple):
            cells.append(f"{name}={value}"[:SHOWN_CHARS_MAX])
    return "  " + " ".join(cells)
