"""What is measured: each variant at each scale (or number of rows) with each number of threads, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_core.manifest import TABULAR_TASKS, Manifest
from inference_core.registry import read_manifests
from inference_core.tiled import SCALE_MIN

from tier_measure.errors import MeasureError

SCALES = (1.0, 0.5, 0.25)
ROWS = (1, 100, 1000)


@dataclass(frozen=True)
class Setting:
    """One variant with one power: what a point of the record is measured at."""

    manifest: Manifest
    scale: float | None
    """None for rows."""
    rows: int | None
    """In one request; None for pictures."""
    threads: int

    @property
    def key(self) -> str:
        """The same setting has the same key in another run."""
        work = f"scale {self.scale:g}" if self.scale is not None else f"{self.rows} rows"
        return f"{self.manifest.name}, {work}, threads {self.threads}"


@dataclass(frozen=True)
class Pace:
    """How often each setting is measured. Settings take turns, a block each a round, so that a machine that is slow
    for a minute is slow for all of them.
    """

    rounds: int
    box_s: float
    """A block repeats its answer until this time is over."""
    repetitions_max: int
    """In one block."""
    again_s_max: float = float("inf")
    """A block that took longer is not taken again: what is left of the time goes to the others."""
    again_until_s: float = float("inf")
    """After this time no block is taken again."""


FULL = Pace(rounds=3, box_s=1.5, repetitions_max=40)
QUICK = Pace(rounds=3, box_s=0.3, repetitions_max=10, again_s_max=2.5, again_until_s=110.0)


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4, … and the cores themselves."""
    return sorted({*(1 << power for power in range(cores.bit_length()) if 1 << power < cores), cores})


def chosen(models_dir: Path, name: str) -> list[Manifest]:
    """The model or the variants of the family called `name`, from small to large file. Raises MeasureError."""
    manifests = read_manifests(models_dir)
    found = [manifest for manifest in manifests if name in (manifest.name, manifest.family)]
    if not found:
        names = {name for manifest in manifests for name in (manifest.name, manifest.family)}
        raise MeasureError(
            f'{models_dir} has no model or family "{name}"; it has {", ".join(sorted(names)) or "none"}.'
        )
    for manifest in found:
        if manifest.task == "tensor":
            raise MeasureError(f"{manifest.name} is a {manifest.task} model: what to send it is not known.")
        if (manifest.task in TABULAR_TASKS) != (found[0].task in TABULAR_TASKS):
            raise MeasureError(f"{name} holds both pictures' and tables' models; name one model.")
    return sorted(found, key=lambda manifest: (manifest.folder / manifest.file).stat().st_size)


def settings_of(
    manifests: Sequence[Manifest], scales: Sequence[float], rows: Sequence[int], threads: Sequence[int]
) -> list[Setting]:
    """Every variant x scale (or number of rows) x threads. Raises MeasureError for a scale outside 0.05 to 1."""
    if bad := [scale for scale in scales if not SCALE_MIN <= scale <= 1]:
        raise MeasureError(f"scale = {bad[0]:g} is outside {SCALE_MIN} to 1.")
    found = []
    for manifest in manifests:
        works: list[tuple[float | None, int | None]] = [(scale, None) for scale in scales]
        if manifest.task in TABULAR_TASKS:
            works = [(None, count) for count in rows]
        found += [Setting(manifest, scale, count, n) for scale, count in works for n in threads]
    return found


def quick(settings: Sequence[Setting]) -> list[Setting]:
    """Of `settings` those with all the threads, and of fewer threads the cheapest work of each variant: enough for a
    curve and for Amdahl's share, in a fraction of the time.
    """
    most = max(setting.threads for setting in settings)
    cheapest: dict[str, float] = {}
    for setting in settings:
        name = setting.manifest.name
        cheapest[name] = min(cheapest.get(name, float("inf")), _work(setting))
    return [s for s in settings if s.threads == most or _work(s) == cheapest[s.manifest.name]]


def _work(setting: Setting) -> float:
    return setting.scale if setting.scale is not None else float(setting.rows or 0)
