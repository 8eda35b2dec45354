"""The Open Inference Protocol v2, less its transport: what each call answers, for every tier alike.

Facts are the protocol's (kserve/open-inference-protocol) and those of Triton's extensions for binary tensors, model
configuration and statistics; tritonclient and perf_analyzer work against it.
"""

from typing import Any

from inference_core import wire
from inference_core.documents import ReadJson, reader
from inference_core.errors import InferenceError, ModelNotFound
from inference_core.registry import Pipeline, Registry
from inference_core.results import StageClock
from inference_core.settings import Settings

EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")
"""What `GET /v2` lists; clients ask for a part only when it stands there."""


class OpenInference:
    """Answers calls by tensor for the models of `registry`."""

    def __init__(self, registry: Registry, *, elements_max: int, read: ReadJson | None = None) -> None:
        self._registry = registry
        self._elements_max = elements_max
        self._read = read or reader(Settings())

    def find(self, name: str, version: str | None = None) -> Pipeline:
        """The model `name`, by its own name: a family is no model here. Raises ModelNotFound, also for a version
        other than the one there is.
        """
        pipeline = self._registry.find(name)
        if pipeline.manifest.name != name or version not in (None, wire.VERSION):
            wanted = name if version is None else f"{name} version {version}"
            raise ModelNotFound(f'No model "{wanted}" is served here; each has the one version {wire.VERSION}.')
        return pipeline

    def metadata(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Names, types and shapes of the model's tensors."""
        return wire.metadata(name, self.find(name, version).session)

    def config(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The model's configuration, as far as one has a meaning here."""
        return wire.config(name, self.find(name, version).session)

    def stats(self, name: str | None = None, version: str | None = None) -> dict[str, Any]:
        """What the model, or every model, has done since the start."""
        names = list(self._registry.stats) if name is None else [self.find(name, version).manifest.name]
        return {"model_stats": [self._registry.stats[each].document(each, wire.VERSION) for each in names]}

    def infer(
        self, name: str, version: str | None, body: bytes, json_length: int | None
    ) -> tuple[wire.InferReply, dict[str, float]]:
        """The reply to an infer request and the milliseconds of its steps. Raises InferenceError; a request that the
        model refuses is counted as its failure.
        """
        session = self.find(name, version).session
        clock = StageClock()
        try:
            with clock.stage("decode"):
                request = wire.read_request(
                    body, json_length, session, elements_max=self._elements_max, read=self._read
                )
            with clock.stage("infer"):
                values = wire.infer(request, session)
            with clock.stage("encode"):
                reply = wire.write_reply(name, request, values, session)
        except InferenceError:
            self._registry.stats[name].add_failure()
            raise
        return reply, clock.timings_ms
