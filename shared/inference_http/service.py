"""What a tier serves: its models, and with what power."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson
from inference_core.cpu import quota_cores, usable_cores
from inference_core.detection import DetectionPipeline
from inference_core.documents import reader
from inference_core.manifest import TABULAR_TASKS, Manifest
from inference_core.open_inference import EXTENSIONS
from inference_core.registry import Builder, Pipeline, Registry, TensorPipeline, load_models
from inference_core.session import Provider, Session, runtime_version
from inference_core.settings import Settings
from inference_core.tabular import TabularPipeline

from inference_http import __version__
from inference_http.forecast import Kind
from inference_http.keys import read_keys
from inference_http.known_times import known_tile_s

Hosting = Literal["cpu", "cuda", "cpu-stand-in"]
"""What computes. The stand-in is a CPU where a GPU belongs; it is said in every reply."""


class Engines(Protocol):
    """What computes for a service, where that is more than the threads of its process: a GPU with its batchers."""

    @property
    def gpu(self) -> str:
        """The GPU's name as its driver says it; `unknown` where there is none."""
        ...

    def check(self) -> None:
        """Run a real inference, or know that one ended well just now. Raises when none can; called on a thread."""
        ...

    def describe(self) -> dict[str, Any]:
        """How each model is computed, by its name, for records."""
        ...

    def close(self) -> None:
        """Take no more work, and finish what waits."""
        ...


@dataclass(frozen=True)
class Service:
    """Models loaded and warmed, and the power they have."""

    registry: Registry
    settings: Settings
    hosting: Hosting
    threads: int
    """ONNX Runtime threads in one run of a picture model."""
    cores: int
    quota_cores: float | None
    tile_s: Mapping[Kind, float] = field(default_factory=dict)
    """Seconds that a tile is known to take at the start, by picture model and scale."""
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    """What opens every route but health; empty: no key is asked for."""
    engines: Engines | None = None

    def metadata(self) -> dict[str, Any]:
        """What `GET /v2` answers: the protocol's server metadata, and on what the service stands."""
        return {
            "name": "inference-tiers",
            "version": __version__,
            "extensions": list(EXTENSIONS),
            "hosting": self.hosting,
            "threads": self.threads,
            "slots": self.settings.slots,
            "queue_max": self.settings.queue_max,
            "cores": self.cores,
            "quota_cores": self.quota_cores,
            "onnxruntime": runtime_version(),
            "models": [pipeline.manifest.name for pipeline in self.registry],
            **({"engines": self.engines.describe()} if self.engines else {}),
        }

    def summary(self) -> str:
        """The same in one line for the log."""
        return " ".join(
            f"{key}={','.join(value) if isinstance(value, list) else value}"
            for key, value in self.metadata().items()
            if key not in ("name", "extensions")
        )


def open_service(
    settings: Settings, hosting: Hosting, builders: Mapping[str, Builder], engines: Engines | None = None
) -> Service:
    """Load and warm every model that `settings` names; `builders` may give `engines` work to do. Raises StartupError
    saying what to mend.
    """
    keys = read_keys(settings.api_keys)  # first: a long load of models must not end in a key too short
    registry, threads = (
        load_models(settings, builders),
        threads_per_run(settings, "cuda" if hosting == "cuda" else "cpu"),
    )
    gpu = engines.gpu if engines else ""
    return Service(
        registry=registry,
        settings=settings,
        hosting=hosting,
        threads=threads,
        cores=usable_cores(),
        quota_cores=quota_cores(),
        tile_s=known_tile_s(registry, settings, device=hosting, threads=threads, gpu=gpu),
        keys=tuple(keys),
        engines=engines,
    )


def threads_per_run(settings: Settings, provider: Provider) -> int:
    """`settings.threads`, or this process's cores shared among the slots (one, where the GPU does the work:
    microsoft/onnxruntime#20494).
    """
    return settings.threads or (1 if provider == "cuda" else max(1, usable_cores() // settings.slots))


def builders(settings: Settings, provider: Provider) -> dict[str, Builder]:
    """How the pipeline of each task is put together. To change one task's, replace its entry."""
    threads = threads_per_run(settings, provider)

    def tabular(manifest: Manifest) -> Pipeline:
        # A row costs microseconds: sharing it among threads, or a trip to the GPU, costs more than it saves.
        session = Session(manifest.model_bytes, data_folder=manifest.data_folder, threads=1)
        return TabularPipeline(manifest, session, rows_max=settings.rows_max, read=reader(settings, orjson.loads))

    def detection(manifest: Manifest) -> Pipeline:
        session = Session(manifest.model_bytes, data_folder=manifest.data_folder, threads=threads, provider=provider)
        pipeline = DetectionPipeline(
            manifest, session, pixels_max=settings.pixels_max, side_max=settings.image_side_max
        )
        pipeline.warm()
        return pipeline

    def tensor(manifest: Manifest) -> Pipeline:
        return TensorPipeline(
            manifest,
            Session(manifest.model_bytes, data_folder=manifest.data_folder, threads=threads, provider=provider),
        )

    return {**dict.fromkeys(sorted(TABULAR_TASKS), tabular), "detection": detection, "tensor": tensor}
