"""Detection models: picture bytes in, boxes out, by a session's runs or those of a batcher in its place."""

from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference_core import heads, images
from inference_core.errors import ManifestError
from inference_core.manifest import DetectionOutput, ImageInput, Manifest
from inference_core.results import Prediction, Watch, still_wanted, unwatched
from inference_core.session import Session
from inference_core.settings import Settings
from inference_core.tiled import PictureModel, Run, TiledDetection, Wanted, black_tiles


class Predict(Protocol):
    """`TiledDetection.predict`, or what takes its place."""

    def __call__(self, detection: TiledDetection, body: bytes, /, *, scale: float, watch: Watch) -> Prediction:
        """The objects in `body`; see `TiledDetection.predict`."""
        ...


class DetectionPipeline:
    """Answers picture bytes with the objects found."""

    def __init__(
        self,
        manifest: Manifest,
        session: Session,
        *,
        pixels_max: int,
        side_max: int = Settings.image_side_max,
        run: Run | None = None,
        decode: images.Decode = images.decode,
        predict: Predict = TiledDetection.predict,
    ) -> None:
        """`run` takes the place of the session's own, for example a batcher; `decode` that of `images.decode`, and
        `predict` that of all but the run.

        Raises ManifestError when the manifest does not describe a detection model, or its graph lacks a tensor that
        the manifest names.
        """
        if not isinstance(manifest.input, ImageInput) or not isinstance(manifest.output, DetectionOutput):
            raise ManifestError(f"{manifest.name}: a {manifest.task} model takes no pictures.")
        self.manifest = manifest
        self.session = session
        self._input, self._output = manifest.input, manifest.output
        self._output_names = heads.output_names(manifest.output)
        session.require(manifest.name, inputs=[manifest.input.name], outputs=self._output_names)
        model = PictureModel(
            manifest.name, manifest.variant, manifest.input, manifest.output, pixels_max=pixels_max, side_max=side_max
        )
        self.tiled = TiledDetection(model, run or self.session_run, decode)
        self._predict = predict
        self.tile_s = 0.0
        """Seconds that one tile took when the model was warmed; 0 before."""

    def warm(self) -> None:
        """Run one tile and a full batch, so that the first request pays for no allocation, and one more tile to see
        how long it takes. Raises ManifestError when the graph does not take what the manifest says.
        """
        for count in {1, self._input.tile_batch}:
            try:
                output = self.tiled.run(black_tiles(self._input, count), still_wanted(unwatched, 0, count))
            except Exception as error:  # onnxruntime raises a dozen unrelated classes here
                raise ManifestError(f"{self.manifest.name}: the first run failed: {error}") from error
            heads.candidates(output, self._output, self._input)
        tile = black_tiles(self._input, 1)
        started = perf_counter()
        self.tiled.run(tile, still_wanted(unwatched, 0, 1))
        self.tile_s = perf_counter() - started

    def session_run(self, tiles: NDArray[Any], wanted: Wanted) -> NDArray[np.float32]:
        """The session's own run of `tiles`."""
        del wanted
        tensors = self.session.run({self._input.name: tiles}, self._output_names)
        return heads.packed(tensors, self._output, len(tiles))

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        """As `TiledDetection.predict`."""
        return self._predict(self.tiled, body, scale=scale, watch=watch)
