"""Write a trained detector as a model folder that serving reads.

python -m training.detector.export --checkpoint build/board-defects-n/checkpoint.pt

The folder gets `model.onnx` (batch norms folded, any batch and any picture size in multiples of
32), its manifest `model.toml`, and a picture `golden.jpg` with torch's own answer in `golden.json`. The written
file is run by ONNX Runtime and compared with torch before anything is left in place.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from training.boards import LABELS, make_board
from training.detector.network import STRIDES, ConvNorm, Detector
from training.detector.reference import IOU_MAX, SCORE_MIN, Answer, load, run
from training.seeds import require_evaluation

OPSET = 17
GOLDEN_SEED = 9_800_001
_GOLDEN_SIZE = (640, 640)
"""One tile: torch, which sees the picture whole, and serving, which cuts tiles, then see the same pixels."""
_GOLDEN_TOLERANCE = {"score": 0.001, "box_px": 0.05}
_TOLERANCE_PX = 0.01
_TOLERANCE_SCORE = 1e-4
_SHAPES = ((1, 640, 640), (3, 320, 416), (1, 736, 1280))


def folded(model: Detector) -> Detector:
    """The same function with every batch norm worked into its convolution (in place)."""
    for block in model.modules():
        if isinstance(block, ConvNorm):
            convolution, norm = block[0], block[1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            block[0] = nn.utils.fuse_conv_bn_eval(convolution, norm)
            block[1] = nn.Identity()
    return model


def write_onnx(model: Detector, path: Path) -> None:
    """`model` as ONNX with free batch, height and width."""
    names = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 640, 640, dtype=torch.uint8),),
        str(path),
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": names, "output0": {0: "batch", 2: "cells"}},
        opset_version=OPSET,
        dynamo=False,
    )
    # The exporter cannot know that concatenating keeps this dimension fixed; readers rely on it.
    graph = onnx.load(path)
    rows = graph.graph.output[0].type.tensor_type.shape.dim[1]
    rows.dim_value = 4 + len(LABELS)
    onnx.save(graph, path)


def round_weights(model: Detector) -> Detector:
    """`model` with the weights of its convolutions rounded to what float16 can hold (in place)."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(layer.weight.half().float())
    return model


def store_float16(path: Path) -> None:
    """Write the convolutions' weights in the file at `path` as float16, each followed by a Cast: half the size.

    All arithmetic stays float32. ONNX Runtime folds the casts when it opens the file, so a run costs nothing more.
    """
    graph = onnx.load(path)
    weights = {node.input[1] for node in graph.graph.node if node.op_type == "Conv"}
    casts = []
    for tensor in graph.graph.initializer:
        if tensor.name in weights:
            stored = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}.float16")
            casts.append(helper.make_node("Cast", [stored.name], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(stored)
    for number, cast in enumerate(casts):
        graph.graph.node.insert(number, cast)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)


def widen_float16(graph: onnx.GraphProto) -> None:
    """What `store_float16` did undone, but for the rounding: float32 weights and no Cast (in place)."""
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    for node in casts:
        tensor = stored[node.input[0]]
        wide = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0])
        graph.initializer.append(wide)
        graph.node.remove(node)
    for name in {node.input[0] for node in casts}:
        graph.initializer.remove(stored[name])


def largest_differences(model: Detector, path: Path) -> tuple[float, float]:
    """How far ONNX Runtime is from torch on boards of several shapes: pixels, scores."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels = scores = 0.0
    for count, height, width in _SHAPES:
        boards = [make_board(GOLDEN_SEED + n, width, height).pixels for n in range(count)]
        images = np.stack(boards)[:, None]
        (found,) = session.run(None, {"images": images})
        with torch.no_grad():
            wanted = model(torch.from_numpy(images)).numpy()
        pixels = max(pixels, float(np.abs(found[:, :4] - wanted[:, :4]).max()))
        scores = max(scores, float(np.abs(found[:, 4:] - wanted[:, 4:]).max()))
    return pixels, scores


def manifest(variant: str, digest: str, source: str) -> str:
    """The text of `model.toml`; the evaluation adds the accuracy."""
    labels = ", ".join(f'"{label}"' for label in LABELS)
    return f"""name = "board-defects-{variant}"
family = "board-defects"
variant = "{variant}"
task = "detection"
file = "model.onnx"
sha256 = "{digest}"
licence = "MIT"
source = "{source}"

[input]
name = "images"
layout = "nchw"
dtype = "uint8"
colour = "grey"
scale = 1.0
tile_px = 640
stride = {STRIDES[-1]}

[output]
name = "output0"
layout = "yolov8"
labels = [{labels}]
score_min = {SCORE_MIN}
iou_max = {IOU_MAX}
"""


def golden_picture(seed: int) -> bytes:
    """A small evaluation board as a JPEG."""
    board = make_board(require_evaluation(seed), *_GOLDEN_SIZE, look="lit", defect_count=8)
    file = io.BytesIO()
    Image.fromarray(board.pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def read_picture(body: bytes) -> NDArray[np.uint8]:
    """The grey pixels uint8 [H, W] of a picture's bytes."""
    return np.asarray(Image.open(io.BytesIO(body)))


def write_golden(
    folder: Path, model: Answer, seed: int = GOLDEN_SEED, tolerance: Mapping[str, float] = _GOLDEN_TOLERANCE
) -> None:
    """A small evaluation board and what `model` finds on it, to which the answers of every tier are compared."""
    picture = folder / "golden.jpg"
    picture.write_bytes(golden_picture(seed))
    found = run(model, read_picture(picture.read_bytes()))
    detections = [
        {"label": LABELS[int(label)], "score": round(float(score), 4), "box": [round(float(edge), 2) for edge in box]}
        for label, score, box in zip(found.labels, found.scores, found.boxes, strict=True)
    ]
    golden = {"image": picture.name, "scale": 1.0, "detections": detections, "tolerance": dict(tolerance)}
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Export `--checkpoint` into the folder `--out`."""
    options = _parser().parse_args(arguments)
    model = load(options.checkpoint)
    variant = model.variant
    options.out.mkdir(parents=True, exist_ok=True)
    partial = options.out / "model.partial.onnx"
    stored = folded(copy.deepcopy(model))
    write_onnx(stored, partial)
    _require_equal(model, partial)
    if options.weights == "float16":
        model = round_weights(stored)
        store_float16(partial)
        _require_equal(model, partial)
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    source = options.source or f"python -m training.detector.train --variant {variant}"
    text = manifest(variant, digest, f"trained by `{source}` on generated boards")
    partial.replace(options.out / "model.onnx")
    (options.out / "model.toml").write_text(text)
    write_golden(options.out, model)


def _require_equal(model: Detector, path: Path) -> None:
    pixels, scores = largest_differences(model, path)
    print(f"largest difference to torch: boxes {pixels:.2e} px, scores {scores:.2e}")
    if pixels > _TOLERANCE_PX or scores > _TOLERANCE_SCORE:
        path.unlink()
        raise SystemExit("the exported file does not answer as the checkpoint does")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.detector.export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the model folder")
    parser.add_argument(
        "--weights",
        choices=("float32", "float16"),
        default="float32",
        help="what the file holds them as: float16 halves it",
    )
    parser.add_argument("--source", default="", help="the command that trained it, for the manifest")
    return parser


if __name__ == "__main__":
    main()
