"""`python -m training.compare_sahi`: our tiling against SAHI's, the same pictures through the same session.

SAHI (github.com/obss/sahi) is the tiling that most projects use. It gets what we have: the ONNX Runtime session itself,
tiles of the same size and overlap in batches of the same size, the whole picture shrunk by the same resampling, and the
same suppression inside a tile. What differs is what each makes of it: cutting, moving boxes, and merging them into one
list. Each picture goes through all methods in turn, whose order rotates, in one process; the scores are those of
`training.evaluate`. `make compare-sahi` installs SAHI into an environment of its own.
"""

import argparse
import dataclasses
import io
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from inference_core import images
from inference_core.detection import DetectionPipeline
from inference_core.manifest import DetectionOutput, ImageInput, read_manifest
from inference_core.session import Session, runtime_version
from inference_core.tiled import Wanted, as_tensor
from inference_core.tiling import PADDING, Boxes, suppress
from numpy.typing import NDArray
from PIL import Image
from sahi import __version__ as sahi_version
from sahi.models.base import DetectionModel
from sahi.predict import get_sliced_prediction
from sahi.prediction import ObjectPrediction

from training.evaluate import MODELS, Sample, make_samples, open_detector, score
from training.scoring import SCORE_MIN, Detections, Score

Method = Callable[[bytes], Detections]
"""A picture's bytes to what is on it, each a label, a score and a box in pixels of the picture."""

OURS = "this project"


@dataclasses.dataclass(frozen=True)
class Slicing:
    """One way of calling SAHI; what is None is left to SAHI."""

    name: str
    merging: str | None = None
    metric: str | None = None
    overlap: float | None = None
    batch: int | None = None

    def options(self) -> dict[str, Any]:
        """The arguments of `get_sliced_prediction` that are not left to SAHI."""
        given = {
            "postprocess_type": self.merging,
            "postprocess_match_metric": self.metric,
            # SAHI would change to NMS by itself where scores below 0.1 are asked for.
            "force_postprocess_type": self.merging and True,
            "overlap_height_ratio": self.overlap,
            "overlap_width_ratio": self.overlap,
            "batch_size": self.batch,
        }
        return {name: value for name, value in given.items() if value is not None}


class Network:
    """A pipeline's session with a clock: `spent_ms` grows by what each run takes."""

    def __init__(self, session: Session, settings: ImageInput, layout: DetectionOutput) -> None:
        self._session, self._input, self._output = session, settings.name, layout.name
        self.spent_ms = 0.0

    def run(self, tiles: NDArray[Any], wanted: Wanted | None = None) -> NDArray[np.float32]:
        """Tiles as the graph takes them to its output."""
        del wanted
        start = time.perf_counter()
        output: NDArray[np.float32] = self._session.run({self._input: tiles}, [self._output])[0]
        self.spent_ms += (time.perf_counter() - start) * 1000
        return output


class SessionModel(DetectionModel):  # type: ignore[misc, unused-ignore]  # SAHI may be absent where types are checked
    """The network as SAHI's kind of model."""

    def __init__(self, network: Network, settings: ImageInput, layout: DetectionOutput) -> None:
        self._input, self._output = settings, layout
        super().__init__(model=network, device="cpu", confidence_threshold=layout.score_min)

    def set_model(self, model: Any, **_: Any) -> None:
        """Take the network; called by SAHI."""
        self.model = model

    def perform_inference(self, image: NDArray[np.uint8]) -> None:
        """The pass over the whole picture, grey uint8 [H, W]; called by SAHI."""
        self.perform_batch_inference([image])

    def perform_batch_inference(self, images: list[NDArray[np.uint8]]) -> None:
        """All slices of a batch in one run, each grey uint8 [h, w]; called by SAHI."""
        side = self._input.tile_px
        shrinks = [max(1.0, max(image.shape) / side) for image in images]
        tiles = np.full((len(images), side, side, 1), PADDING, np.uint8)
        for tile, image, shrink in zip(tiles, images, shrinks, strict=True):
            cut = _shrunk(image, shrink)
            tile[: cut.shape[0], : cut.shape[1]] = cut
        output = self.model.run(as_tensor(tiles, self._input))
        self._found = [_boxes(rows, self._output, shrink) for rows, shrink in zip(output, shrinks, strict=True)]

    def _create_object_prediction_list_from_original_predictions(
        self,
        shift_amount_list: list[list[int | float]] | None = None,
        full_shape_list: list[list[int | float]] | None = None,
    ) -> None:
        assert shift_amount_list is not None
        assert full_shape_list is not None
        # SAHI gives one pair for one picture and a list of pairs for several.
        shifts = np.array(shift_amount_list, int).reshape(-1, 2).tolist()
        height, width = np.array(full_shape_list, int).reshape(-1, 2)[0].tolist()
        self._object_prediction_list_per_image = [
            [
                ObjectPrediction(
                    bbox=box,
                    category_id=label,
                    category_name=self._output.labels[label],
                    score=points,
                    shift_amount=shift,
                    full_shape=[height, width],
                )
                for box, points, label in zip(
                    found.xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
                )
            ]
            for found, shift in zip(self._found, shifts, strict=True)
        ]


def _shrunk(image: NDArray[np.uint8], shrink: float) -> NDArray[np.uint8]:
    grey = image[:, :, np.newaxis]
    return grey if shrink == 1.0 else images.shrink(grey, shrink)


def _boxes(rows: NDArray[np.float32], layout: DetectionOutput, shrink: float) -> Boxes:
    """What a YOLOv8 head found in one slice, in the slice's pixels and inside it, duplicates suppressed."""
    scores = rows[4:].max(axis=0)
    kept = np.flatnonzero(scores >= layout.score_min)
    centre, half = rows[:2, kept], rows[2:4, kept] / 2
    xyxy = (np.concatenate([centre - half, centre + half]).T * np.float32(shrink)).clip(0)
    solid = np.flatnonzero((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
    boxes = Boxes(xyxy, scores[kept], rows[4:, kept].argmax(axis=0)).take(solid)
    return suppress(boxes, iou_max=layout.iou_max)


def methods(pipeline: DetectionPipeline) -> tuple[dict[str, Method], Network]:
    """Ours and SAHI's ways from a picture's bytes to its objects, by name, and the network that all of them ask."""
    settings, layout = pipeline.manifest.input, pipeline.manifest.output
    assert isinstance(settings, ImageInput)
    assert isinstance(layout, DetectionOutput)
    network = Network(pipeline.session, settings, layout)
    ours = DetectionPipeline(pipeline.manifest, pipeline.session, pixels_max=1 << 30, run=network.run)
    model = SessionModel(network, settings, layout)
    overlap, batch = settings.overlap_px / settings.tile_px, settings.tile_batch
    slicings = (
        Slicing("SAHI GREEDYNMM, IOS", "GREEDYNMM", "IOS", overlap, batch),
        Slicing("SAHI NMS, IOU", "NMS", "IOU", overlap, batch),
        Slicing("SAHI, its defaults"),
    )
    ways: dict[str, Method] = {OURS: lambda body: list(ours.predict(body).fields["detections"])}
    return ways | {slicing.name: _by_sahi(model, settings.tile_px, slicing) for slicing in slicings}, network


def _by_sahi(model: SessionModel, tile_px: int, slicing: Slicing) -> Method:
    options = slicing.options()

    def find(body: bytes) -> Detections:
        pixels = np.asarray(Image.open(io.BytesIO(body)).convert("L"))
        result = get_sliced_prediction(pixels, model, slice_height=tile_px, slice_width=tile_px, verbose=0, **options)
        return [
            {"label": one.category.name, "score": one.score.value, "box": one.bbox.to_xyxy()}
            for one in result.object_prediction_list
        ]

    return find


@dataclasses.dataclass
class Trial:
    """What one way found on each sample, and for each timed run its ms, all of them and those outside the network."""

    found: list[Detections] = dataclasses.field(default_factory=list)
    spent_ms: list[float] = dataclasses.field(default_factory=list)
    outside_ms: list[float] = dataclasses.field(default_factory=list)


def compare(ways: dict[str, Method], network: Network, samples: Sequence[Sample], repeats: int) -> dict[str, Trial]:
    """Each of `ways` on each sample `repeats` times, in turns."""
    trials = {name: Trial() for name in ways}
    names = list(ways)
    for name in names:  # the first run of each pays for what is allocated once
        ways[name](samples[0].body)
    for turn, sample in enumerate([sample for sample in samples for _ in range(repeats)]):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before, start = network.spent_ms, time.perf_counter()
            answer = ways[name](sample.body)
            spent_ms = (time.perf_counter() - start) * 1000
            trials[name].spent_ms.append(spent_ms)
            trials[name].outside_ms.append(spent_ms - (network.spent_ms - before))
            if turn % repeats == 0:
                trials[name].found.append(answer)
    return trials


def table(scores: dict[str, Score], trials: dict[str, Trial]) -> str:
    """One line a way. A ratio is the median over runs of its time over ours for the same picture."""
    accuracy = "way                  mAP@0.5  mAP@0.5:0.95  precision  recall <32px  recall >=32px"
    lines = [f"{accuracy}  p50 ms  times ours  outside the network ms  times ours"]
    ours = trials[OURS]
    for name, result in scores.items():
        trial = trials[name]
        lines.append(
            f"{name:<20} {result.map_50:>7.4f} {result.map_50_95:>13.4f} {result.precision:>10.4f}"
            f" {result.recall_small:>13.4f} {result.recall_large:>14.4f}"
            f" {np.median(trial.spent_ms):>7.0f} {_ratio(trial.spent_ms, ours.spent_ms):>11.2f}"
            f" {np.median(trial.outside_ms):>23.0f} {_ratio(trial.outside_ms, ours.outside_ms):>11.2f}"
        )
    return "\n".join(lines)


def _ratio(times: list[float], ours: list[float]) -> float:
    return float(np.median(np.array(times) / np.array(ours)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison for one model."""
    parser = argparse.ArgumentParser(prog="python -m training.compare_sahi", description="Our tiling against SAHI's.")
    parser.add_argument("--model", default="board-defects-n")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR")
    parser.add_argument("--boards", type=int, default=6)
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--height", type=int, default=2160)
    parser.add_argument("--repeats", type=int, default=3, help="timed runs a board and way")
    options = parser.parse_args(arguments)
    logging.getLogger("sahi").setLevel(logging.ERROR)  # it would say of each picture that it changed to NMS
    folder = options.models / options.model
    samples = make_samples(options.boards, options.width, options.height)
    serving = read_manifest(folder).output
    assert isinstance(serving, DetectionOutput)
    print(
        f"{options.model}: {options.boards} boards of {options.width} x {options.height} px, "
        f"SAHI {sahi_version}, ONNX Runtime {runtime_version()}"
    )
    for score_min in (serving.score_min, SCORE_MIN):
        pipeline = open_detector(folder, score_min=score_min)
        ways, network = methods(pipeline)
        trials = compare(ways, network, samples, options.repeats)
        scores = {name: score(samples, trial.found, serving.score_min) for name, trial in trials.items()}
        print(f"\nboxes from score {score_min:g} on, {pipeline.session.threads} threads\n{table(scores, trials)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
