"""Write a trained detector as a model folder that serving reads.

python -m training.detector.export --checkpoint build/board-defects-n/checkpoint.pt

The folder gets `model.onnx` (batch norms folded, any batch and any picture size in multiples of
32), its manifest `model.toml`, and a picture `golden.jpg` with torch's own answer in `golden.json`. The written
file is run by ONNX Runtime and compared with torch before anything is left in place.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from PIL import Image
from torch import nn

from training.boards import LABELS, make_board
from training.detector.network import STRIDES, ConvNorm, Detector
from training.detector.reference import IOU_MAX, SCORE_MIN, load, run
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


def write_golden(folder: Path, model: Detector, seed: int = GOLDEN_SEED) -> None:
    """A small evaluation board and what torch finds on it, to which the answers of every tier are compared."""
    board = make_board(require_evaluation(seed), *_GOLDEN_SIZE, look="lit", defect_count=8)
    picture = folder / "golden.jpg"
    Image.fromarray(board.pixels).save(picture, quality=85)
    found = run(model, np.asarray(Image.open(picture)))
    detections = [
        {"label": LABELS[int(label)], "score": round(float(score), 4), "box": [round(float(edge), 2) for edge in box]}
        for label, score, box in zip(found.labels, found.scores, found.boxes, strict=True)
    ]
    golden = {"image": picture.name, "scale": 1.0, "detections": detections, "tolerance": _GOLDEN_TOLERANCE}
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Export `--checkpoint` into the folder `--out`."""
    options = _parser().parse_args(arguments)
    model = load(options.checkpoint)
    variant = model.variant
    options.out.mkdir(parents=True, exist_ok=True)
    partial = options.out / "model.partial.onnx"
    write_onnx(folded(model), partial)
    pixels, scores = largest_differences(load(options.checkpoint), partial)
    print(f"largest difference to torch: boxes {pixels:.2e} px, scores {scores:.2e}")
    if pixels > _TOLERANCE_PX or scores > _TOLERANCE_SCORE:
        partial.unlink()
        raise SystemExit("the exported file does not answer as the checkpoint does")
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    source = options.source or f"python -m training.detector.train --variant {variant}"
    text = manifest(variant, digest, f"trained by `{source}` on generated boards")
    partial.replace(options.out / "model.onnx")
    (options.out / "model.toml").write_text(text)
    write_golden(options.out, load(options.checkpoint))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.detector.export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the model folder")
    parser.add_argument("--source", default="", help="the command that trained it, for the manifest")
    return parser


if __name__ == "__main__":
    main()
