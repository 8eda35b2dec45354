"""What the load sends: seeded table rows and 4K pictures of boards, read into memory before the load starts.

Pictures are made once, by `loadtest.pictures` in a process of its own: the load generator itself never imports numpy.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlencode

from tier_planner.objectives import IMAGE_WORKLOADS, Objective

from loadtest.paths import MODELS, PICTURES, ROOT

PICTURE_COUNT = 4
"""Few enough to make in seconds, enough that no tier answers from one picture's luck."""


class PayloadError(RuntimeError):
    """There is nothing to send; the message says what to run."""


@dataclass(frozen=True)
class Payloads:
    """The requests of one workload; arrival `i` sends body `i` modulo their number."""

    path: str
    headers: Mapping[str, str]
    bodies: tuple[bytes, ...]
    answer_key: str
    """What a prediction of this workload carries."""


def payloads_for(objective: Objective, models: Path = MODELS, pictures: Path = PICTURES) -> Payloads:
    """What `objective` sends. Raises PayloadError when the model's rows or the pictures cannot be had."""
    path = f"/v1/models/{quote(objective.model)}/predict"
    if objective.workload in IMAGE_WORKLOADS:
        query = urlencode({"scale": objective.scale})
        bodies = tuple(picture.read_bytes() for picture in board_pictures(pictures))
        return Payloads(f"{path}?{query}", {"Content-Type": "image/jpeg"}, bodies, "detections")
    return Payloads(path, {"Content-Type": "application/json"}, _row_bodies(models, objective), "predictions")


def board_pictures(folder: Path = PICTURES) -> tuple[Path, ...]:
    """The 4K pictures, made first where they are missing (some seconds, once)."""
    wanted = tuple(folder / f"board-4k-{_generator_digest()}-{number}.jpg" for number in range(PICTURE_COUNT))
    if not all(picture.is_file() for picture in wanted):
        command = [sys.executable, "-m", "loadtest.pictures", *map(str, wanted)]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
        if made.returncode:
            raise PayloadError(f"The 4K pictures could not be made; run `make setup` first.\n{made.stderr.strip()}")
    return wanted


def _row_bodies(models: Path, objective: Objective) -> tuple[bytes, ...]:
    """One body a row of the model's golden inputs."""
    path = models / objective.model / "golden.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except OSError as error:
        raise PayloadError(f"{path} cannot be read ({error.strerror}); run `make setup` first.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PayloadError(f"{path} holds no `rows`: {error}") from error
    if not rows:
        raise PayloadError(f"{path} holds no `rows`")
    return tuple(json.dumps({"rows": [row]}).encode() for row in rows)


def _generator_digest() -> str:
    """Names the pictures by the source that draws them, so that a changed generator is not served from the cache."""
    package = find_spec("training")
    if package is None or not package.submodule_search_locations:
        raise PayloadError("The board generator is not installed; run `make setup` first.")
    sources = sorted((Path(package.submodule_search_locations[0]) / "boards").glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:8]
