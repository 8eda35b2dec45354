"""Make the int8 variant of an exported detector: a model folder beside the float one, quantised without training.

python -m training.detector.quantise --model shared/models/board-defects-n --out shared/models/board-defects-n-int8

Static quantisation by ONNX Runtime: activations in 8 bits without sign, weights with sign and a scale a channel, as
QuantizeLinear and DequantizeLinear pairs that ONNX Runtime fuses into integer convolutions when it opens the file.
The ranges come from tiles of training boards, cut as serving cuts them. What stays in float, and why:

- the first convolution: it has one channel in, too few for integer arithmetic to gain anything;
- the last convolution of each head, the boxes and the scores: a box side is an exponential of what they answer.

Weights keep 7 bits of 8 unless `--weight-bits 8`. A processor without VNNI (AVX2 alone) adds two products in 16 bits,
which 8-bit weights can overflow: its answers would then be others, and worse, than those of a processor with VNNI.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from inference_core import images, tiling
from inference_core.manifest import DetectionOutput, ImageInput, read_manifest
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.boards import LABELS, LOOKS, make_board
from training.detector.export import GOLDEN_SEED, golden_picture, read_picture, widen_float16, write_golden
from training.detector.reference import Answer, run, shrink
from training.seeds import require_training

CALIBRATION_SEED = 900_000
"""Far from the seeds that the training's pool begins with: ranges of boards that were not learnt by heart."""
_CALIBRATION_WIDTH, _CALIBRATION_HEIGHT = 1920, 1440
_CALIBRATION_SCALES = (1.0, 0.5, 0.25)
_INTEGER_OPERATORS = ["Conv", "Relu", "Add", "Resize"]
_GOLDEN_TOLERANCE = {"score": 0.15, "box_px": 3.0}
"""How far an answer in 8 bits may be from the float model's, which the golden answers are."""
_GOLDEN_IOU_MARGIN = 0.1
_GOLDEN_TRIES = 400
_GOLDEN_LEAST = 3


class Tiles(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Tiles of training boards as the graph takes them, at several scales and in all looks."""

    def __init__(self, settings: ImageInput, boards: int) -> None:
        self._name = settings.name
        self._tiles = _tiles(settings, boards)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next tile as a feed, uint8 [1, 1, tile_px, tile_px]; None after the last."""
        tile = next(self._tiles, None)
        return None if tile is None else {self._name: tile}


def _tiles(settings: ImageInput, boards: int) -> Iterator[NDArray[np.uint8]]:
    for number in range(boards):
        look = LOOKS[number % len(LOOKS)]
        seed = require_training(CALIBRATION_SEED + number)
        board = make_board(seed, _CALIBRATION_WIDTH, _CALIBRATION_HEIGHT, look=look)
        for scale in _CALIBRATION_SCALES:
            pixels = shrink(board.pixels, scale)[:, :, np.newaxis]
            height, width = pixels.shape[:2]
            tiles = tiling.plan(width, height, tile_px=settings.tile_px, overlap_px=settings.overlap_px)
            for _, cut in tiling.batches(pixels, tiles, tile_px=settings.tile_px, size=1, shrink=images.shrink):
                yield np.ascontiguousarray(cut.transpose(0, 3, 1, 2))


def write_int8(model: Path, path: Path, tiles: Tiles, *, weight_bits: int) -> None:
    """The float model in the file `model` quantised to the file `path`."""
    with tempfile.TemporaryDirectory() as folder:
        wide, shaped = Path(folder) / "wide.onnx", Path(folder) / "shaped.onnx"
        # A weight behind a Cast would count as an activation: quantised at every run, with one scale for all channels.
        stored = onnx.load(model)
        widen_float16(stored.graph)
        onnx.save(stored, wide)
        # Shape inference alone: ONNX Runtime's optimiser would leave its own operator domains in the file.
        quant_pre_process(str(wide), str(shaped), skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            str(shaped),
            str(path),
            tiles,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=weight_bits == 7,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=_INTEGER_OPERATORS,
            nodes_to_exclude=float_nodes(onnx.load(shaped).graph),
        )


def float_nodes(graph: onnx.GraphProto) -> list[str]:
    """Nodes that stay in float: the first convolution, and whatever no further convolution takes its input from."""
    first = next(node.name for node in graph.node if node.op_type == "Conv")
    feeds_convolution: set[str] = set()
    tail = []
    for node in reversed(graph.node):
        if not feeds_convolution.intersection(node.output):
            tail.append(node.name)
        if node.op_type == "Conv" or feeds_convolution.intersection(node.output):
            feeds_convolution.update(node.input)
    return [first, *tail]


def answers_of(path: Path) -> Answer:
    """An ONNX file as the function that `reference.run` takes, in place of torch."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answer(pictures: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: pictures.numpy()})[0])

    return answer


def decisive_seed(model: Answer, output: DetectionOutput) -> int:
    """The first golden seed on whose board the float `model` finds objects of which none is in doubt: none has a score
    or an overlap so near to its threshold that the error of 8 bits could decide it.
    """
    score, iou = _GOLDEN_TOLERANCE["score"], _GOLDEN_IOU_MARGIN
    for seed in range(GOLDEN_SEED, GOLDEN_SEED + _GOLDEN_TRIES):
        pixels = read_picture(golden_picture(seed))
        counts = (
            len(run(model, pixels, score_min=output.score_min + up * score, iou_max=output.iou_max + wide * iou).boxes)
            for up in (1, -1)
            for wide in (1, -1)
        )
        sure = next(counts)
        if sure >= _GOLDEN_LEAST and all(count == sure for count in counts):
            return seed
    raise SystemExit(f"on {_GOLDEN_TRIES} boards the float model was always in doubt: is it trained?")


def largest_differences(model: Answer, folder: Path) -> tuple[float, float]:
    """How far `model` is from the golden answers in `folder`: scores, box edges in pixels; infinite when it finds other
    objects.
    """
    golden = json.loads((folder / "golden.json").read_text())
    wanted = golden["detections"]
    found = run(model, read_picture((folder / golden["image"]).read_bytes()))
    scores = boxes = 0.0
    for one in wanted:
        distances = np.abs(found.boxes - np.array(one["box"], np.float32)).max(axis=1, initial=0)
        nearest = int(distances.argmin()) if distances.size else -1
        if nearest < 0 or len(found.boxes) != len(wanted) or LABELS[found.labels[nearest]] != one["label"]:
            return float("inf"), float("inf")
        scores = max(scores, abs(float(found.scores[nearest]) - one["score"]))
        boxes = max(boxes, float(distances[nearest]))
    return scores, boxes


def int8_manifest(text: str, variant: str, digest: str, command: str) -> str:
    """The float model's `model.toml` as that of its int8 variant; the evaluation adds the accuracy."""
    replaced = {
        "name": f"board-defects-{variant}",
        "variant": variant,
        "sha256": digest,
        "source": f"quantised by `{command}` from the float model",
    }
    text = text.partition("[accuracy]")[0].rstrip() + "\n"
    for key, value in replaced.items():
        text = re.sub(f'^{key} = ".*"$', f'{key} = "{value}"', text, count=1, flags=re.MULTILINE)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Quantise the model folder `--model` into the folder `--out`."""
    options = _parser().parse_args(arguments)
    manifest = read_manifest(options.model)
    assert isinstance(manifest.input, ImageInput)
    assert isinstance(manifest.output, DetectionOutput)
    answer = answers_of(options.model / manifest.file)
    command = f"python -m training.detector.quantise --weight-bits {options.weight_bits}"
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as name:
        folder = Path(name)
        model = folder / "model.onnx"
        tiles = Tiles(manifest.input, options.boards)
        write_int8(options.model / manifest.file, model, tiles, weight_bits=options.weight_bits)
        write_golden(folder, answer, decisive_seed(answer, manifest.output), _GOLDEN_TOLERANCE)
        _require_near(model, folder)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        text = (options.model / "model.toml").read_text()
        (folder / "model.toml").write_text(int8_manifest(text, f"{manifest.variant}-int8", digest, command))
        for path in folder.iterdir():
            path.replace(options.out / path.name)
    read_manifest(options.out)


def _require_near(model: Path, folder: Path) -> None:
    scores, boxes = largest_differences(answers_of(model), folder)
    print(f"largest difference to the float model on the golden picture: scores {scores:.3f}, boxes {boxes:.2f} px")
    if scores > _GOLDEN_TOLERANCE["score"] or boxes > _GOLDEN_TOLERANCE["box_px"]:
        raise SystemExit("the quantised file does not answer as the float model does")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.detector.quantise", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the folder of the float model")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the int8 model")
    parser.add_argument("--boards", type=int, default=8, help="training boards that the ranges are taken from")
    parser.add_argument("--weight-bits", type=int, choices=(7, 8), default=7)
    return parser


if __name__ == "__main__":
    main()
