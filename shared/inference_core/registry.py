"""The models that a tier serves, found by name or by family."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any, Protocol

from inference_core.errors import InvalidRequest, ModelNotFound, SettingsError
from inference_core.manifest import Manifest, read_manifest
from inference_core.results import Prediction, Watch, unwatched
from inference_core.session import Session
from inference_core.settings import Settings
from inference_core.stats import ModelStats


class Pipeline(Protocol):
    """What answers requests for one model."""

    @property
    def manifest(self) -> Manifest:
        """What is known about the model."""
        ...

    @property
    def session(self) -> Session:
        """The model itself, for calls by tensor."""
        ...

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        """Answer `body`; raises InferenceError when it cannot be answered. `scale` is for pictures only. `watch` is
        told of progress between steps that are worth it, and what it raises ends the work.
        """
        ...


Builder = Callable[[Manifest], Pipeline]
"""Opens the session of one model and puts its pipeline together, warmed."""


class TensorPipeline:
    """A model that is called by its tensors alone (`/v2`): we know nothing of what they mean."""

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self.manifest = manifest
        self.session = session

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        """There is no predict for it: raises InvalidRequest saying what to call instead."""
        del body, scale, watch
        name = self.manifest.name
        raise InvalidRequest(f'"{name}" is a tensor model; call it by POST /v2/models/{name}/infer.')


class Registry:
    """Loaded pipelines by name, with what each has done since the start."""

    def __init__(self, pipelines: list[Pipeline]) -> None:
        self._by_name = {pipeline.manifest.name: pipeline for pipeline in pipelines}
        self.stats = {name: ModelStats() for name in self._by_name}

    def __iter__(self) -> Iterator[Pipeline]:
        return iter(self._by_name.values())

    def find(self, name: str) -> Pipeline:
        """The model called `name`, or the most accurate one of the family called so. Raises ModelNotFound."""
        if pipeline := self._by_name.get(name):
            return pipeline
        if not (variants := self.variants(name)):
            known = ", ".join(self._by_name) or "none"
            raise ModelNotFound(f'No model or family "{name}" is served here; served: {known}.')
        return max(variants, key=lambda pipeline: _accuracy(pipeline.manifest))

    def variants(self, family: str) -> list[Pipeline]:
        """The models of `family`; none where that is the name of a model, which always means this model alone."""
        return [] if family in self._by_name else [each for each in self if each.manifest.family == family]


def _accuracy(manifest: Manifest) -> float:
    return manifest.accuracy.value if manifest.accuracy else float("-inf")


def load_models(settings: Settings, builders: Mapping[str, Builder]) -> Registry:
    """Every model under `settings.models_dir` whose task has a builder, or just those named in `settings.models`.

    Raises SettingsError when a named model is missing or of a task that this tier cannot serve, or when nothing is
    left to serve; ManifestError for a broken model folder.
    """
    manifests = read_manifests(settings.models_dir)
    served = [manifest for manifest in manifests if manifest.task in builders]
    if settings.models:
        names = {name for manifest in served for name in (manifest.name, manifest.family)}
        if missing := [name for name in settings.models if name not in names]:
            raise SettingsError(
                f"INFERENCE_MODELS names {missing[0]!r}, which is not among: {', '.join(sorted(names))}."
            )
        served = [manifest for manifest in served if {manifest.name, manifest.family} & set(settings.models)]
    if not served:
        raise SettingsError(f"INFERENCE_MODELS_DIR={str(settings.models_dir)!r} holds no model that this tier serves.")
    pipelines = [builders[manifest.task](manifest) for manifest in served]
    if settings.fault_delay_s:
        pipelines = [SlowPipeline(pipeline, settings.fault_delay_s) for pipeline in pipelines]
    return Registry(pipelines)


def read_manifests(models_dir: Path) -> list[Manifest]:
    """The manifests of all model folders in `models_dir`, by name."""
    return [read_manifest(path.parent) for path in sorted(models_dir.glob("*/model.toml"))]


@dataclass(frozen=True)
class SlowPipeline:
    """A pipeline with a fault: every answer takes `delay_s` seconds more. Load tests must notice it."""

    inner: Pipeline
    delay_s: float

    @property
    def manifest(self) -> Manifest:
        """The inner pipeline's."""
        return self.inner.manifest

    @property
    def session(self) -> Session:
        """The inner pipeline's; calls by tensor are not delayed."""
        return self.inner.session

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        """The inner pipeline's answer, late; the delay stands in the timings as `fault`."""
        sleep(self.delay_s)
        prediction = self.inner.predict(body, scale=scale, watch=watch)
        return Prediction(prediction.fields, {"fault": self.delay_s * 1e3} | prediction.timings_ms)


def describe(manifest: Manifest) -> dict[str, Any]:
    """What `GET /v1/models` says of a model."""
    accuracy = manifest.accuracy
    return {
        "name": manifest.name,
        "family": manifest.family,
        "variant": manifest.variant,
        "task": manifest.task,
        "licence": manifest.licence,
        "labels": list(getattr(manifest.output, "labels", ())),
        "columns": list(getattr(manifest.input, "columns", ())),
        "column_types": list(getattr(manifest.input, "column_types", ())),
        "accuracy": accuracy and {"metric": accuracy.metric, "value": accuracy.value, "data": accuracy.data},
    }
