"""What all choices of one application share: what there is to choose from, how long it takes, what was chosen."""

from collections import Counter
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from inference_core.images import check
from inference_core.manifest import ImageInput, Manifest
from inference_core.registry import Pipeline
from inference_core.tiled import check_scale, tiles_in
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from inference_http.calls import Timings
from inference_http.choice import Option, options_for
from inference_http.forecast import Forecast
from inference_http.query import Wish
from inference_http.service import Service

_TRIALS_EVERY_S = 10.0


class Choices(Collector):
    """The families of `service`, whose variants and scales requests may be given by choice."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = {"pixels_max": service.settings.pixels_max, "side_max": service.settings.image_side_max}
        self.forecast = Forecast(service.tile_s)
        self._tried_at = -_TRIALS_EVERY_S
        self._chosen: Counter[tuple[str, str]] = Counter()

    def variants(self, name: str, wanted: Wish) -> list[Pipeline]:
        """What there is to choose from for a request to `name`; none where it names a model, or a family of no
        pictures, or asks for neither a time nor an accuracy. Raises InvalidRequest for a scale that no picture is read
        with.
        """
        if wanted.deadline_s is None and wanted.min_accuracy is None:
            return []
        variants = self._service.registry.variants(name)
        if not all(isinstance(each.manifest.input, ImageInput) for each in variants):
            return []
        if variants and wanted.scale is not None:
            check_scale(wanted.scale)
        return variants

    def options(self, variants: list[Pipeline], scale: float | None, body: bytes) -> list[Option]:
        """Those for the picture in `body`, of which only the header is read. Raises what `images.check` raises."""
        return options_for(variants, scale, *check(body, **self._limits))

    def is_trial_due(self) -> bool:
        """Whether it is time to try again what was refused; so it is not, then, for a while."""
        if monotonic() - self._tried_at < _TRIALS_EVERY_S:
            return False
        self._tried_at = monotonic()
        return True

    def learn(self, manifest: Manifest, fields: Mapping[str, Any], timings_ms: Timings) -> None:
        """A request that named a model was answered with `fields`: its time tells about choices to come."""
        if not isinstance(manifest.input, ImageInput) or "image" not in fields:
            return
        scale, image = fields["scale"], fields["image"]
        tiles = tiles_in(image["width"], image["height"], scale, manifest.input)
        spent_ms = sum(timings_ms.values()) - timings_ms.get("queue", 0.0)
        self.forecast.learn((manifest.name, scale), tiles, spent_ms / 1e3)

    def count(self, option: Option) -> None:
        """`option` was chosen and has answered."""
        # Callers may send any scale; each would be a series of its own.
        scale = f"{option.scale:g}" if self.forecast.knows(option.kind) else "other"
        self._chosen[option.kind[0], scale] += 1

    def collect(self) -> Iterator[Metric]:
        """The figures for /metrics."""
        chosen = CounterMetricFamily(
            "inference_choices", "Requests to a family, by the model and scale that answered", labels=("model", "scale")
        )
        for labels, count in self._chosen.items():
            chosen.add_metric(labels, count)
        yield chosen
