"""Recognise a detector by the shapes of its tensors, what its exporter wrote into it, and a run on a made-up tile."""

from dataclasses import replace
from typing import Literal

import numpy as np
from inference_core.errors import ManifestError
from inference_core.heads import candidates, output_names, packed
from inference_core.manifest import DetectionOutput, ImageInput
from inference_core.session import Session, TensorSpec
from inference_core.tiled import as_tensor
from numpy.typing import NDArray

from intake import trial_run
from intake.errors import Refused
from intake.layouts import recognised_layout
from intake.trial_run import Arrays, check_scores
from intake.ultralytics import Export, read_export
from intake.wish import Found, Wish

_SIDE_PX = 640
"""Where neither the graph nor its metadata say how large a picture it wants."""
_OVERLAP_SHARE = 0.15
"""Of a tile's side, what neighbours share: 96 of 640 px."""
_DTYPES: dict[str, Literal["float32", "float16", "uint8"]] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}
_RECTANGLES = 40
_FRACTION_MAX = 1.5
"""Half of all positions lie below it where they are fractions of the picture's sides, none would in pixels."""
_SURE = 0.01
"""A score from which a row of finished boxes is looked at."""


def recognised_detector(session: Session, wish: Wish) -> Found | None:
    """The detector in `session`; None for a model of another kind. Raises Refused for a detector that cannot be
    served, or whose answer contradicts what it or `wish` say.
    """
    export = read_export(session.metadata)
    if export.task not in ("", "detect") or len(session.inputs) != 1:
        return None
    spec = session.inputs[0]
    image = _image_input(spec, export)
    if image is None:
        return None
    batch = spec.shape[0] if isinstance(spec.shape[0], int) else 1
    tiles = _tiles(image, max(batch, ImageInput.tile_batch))
    labels = wish.labels or export.labels
    try:
        outputs = _run(session, image, tiles[:batch])
    except Refused:
        if wish.task or export.task:
            raise
        return None  # it takes other pictures than a detector
    reading = recognised_layout(_of_one(outputs, batch), labels, image)
    if reading is None:
        return None
    if batch > 1:
        raise Refused(f"It takes exactly {batch} pictures at a time; export it with a free batch, or one of 1.")
    layout, image = reading
    warnings = [] if labels else [f"Its {len(layout.labels)} labels are not known and are numbers now; give --labels."]
    if not export.sides_px and not isinstance(_sides(spec, image.layout)[0], int):
        warnings.append(f"It takes pictures of any size and does not say of which; tiles have {_SIDE_PX} px.")
    warnings += _guesses(layout, image)
    alone = _checked(_run(session, image, tiles[-1:]), layout, image, warnings)
    image = replace(image, tile_batch=_tile_batch(session, image, layout, tiles, alone, warnings))
    summary = f"{layout.layout} boxes, {len(layout.labels)} labels, tiles of {image.tile_px} px, {image.colour}"
    return Found("detection", image, layout, summary, warnings)


def _guesses(layout: DetectionOutput, image: ImageInput) -> list[str]:
    warnings = []
    if layout.layout == "yolov5" and image.scale == 1.0 and image.dtype != "uint8":
        guess = "It is taken for a decoded YOLOX (BGR, 0 to 255)"
        warnings.append(f"{guess}; a YOLOv6 sees RGB, 0 to 1: edit model.toml then.")
    if image.width_px:
        warnings.append(f"It takes no square but {image.width_px} x {image.height_px} px: tiles are padded to that.")
    return warnings


def _image_input(spec: TensorSpec, export: Export) -> ImageInput | None:
    dtype = _DTYPES.get(spec.dtype)
    if dtype is None or len(spec.shape) != 4:
        return None
    layout: Literal["nchw", "nhwc"] = "nhwc" if spec.shape[3] in (1, 3) and spec.shape[1] not in (1, 3) else "nchw"
    channels = spec.shape[1 if layout == "nchw" else 3]
    if channels not in (1, 3):
        return None
    high, wide = _sides_px(spec, layout, export)
    square = high == wide
    return ImageInput(
        spec.name,
        layout,
        dtype,
        "grey" if channels == 1 else "rgb",
        tile_px=min(high, wide),
        scale=1.0 if dtype == "uint8" else 1 / 255,
        overlap_px=max(1, round(min(high, wide) * _OVERLAP_SHARE)),
        width_px=0 if square else wide,
        height_px=0 if square else high,
    )


def _sides(spec: TensorSpec, layout: str) -> tuple[int | str | None, ...]:
    return spec.shape[2:4] if layout == "nchw" else spec.shape[1:3]


def _sides_px(spec: TensorSpec, layout: str, export: Export) -> tuple[int, int]:
    """Height and width: the graph's own where fixed, else a square of the metadata's longer side."""
    free = max(export.sides_px or [_SIDE_PX])
    high, wide = (side if isinstance(side, int) else free for side in _sides(spec, layout))
    return high, wide


def _of_one(outputs: Arrays, batch: int) -> Arrays:
    """The first picture's share of what a graph of a fixed batch answers."""
    if batch == 1:
        return outputs
    return {name: value[:1] if isinstance(value, np.ndarray) else value for name, value in outputs.items()}


def _tiles(image: ImageInput, count: int) -> NDArray[np.uint8]:
    """Made-up pictures of rectangles and noise, uint8 [count, side, side, C], no two alike."""
    random = np.random.default_rng(trial_run.SEED)
    side, channels = image.tile_px, 1 if image.colour == "grey" else 3
    tiles = random.normal(120, 20, (count, side, side, channels))
    for tile in tiles:
        for _ in range(_RECTANGLES):
            (x, y), (wide, high) = random.integers(0, side, 2), random.integers(4, side // 3 + 5, 2)
            tile[y : y + high, x : x + wide] += random.uniform(-120, 120, channels)
    return tiles.clip(0, 255).astype(np.uint8)


def _run(session: Session, image: ImageInput, tiles: NDArray[np.uint8]) -> Arrays:
    return trial_run.run(session, {image.name: as_tensor(tiles, image)})


def _packed(outputs: Arrays, layout: DetectionOutput, tiles: int) -> NDArray[np.float32]:
    return packed([outputs[name] for name in output_names(layout)], layout, tiles)


def _checked(outputs: Arrays, layout: DetectionOutput, image: ImageInput, warnings: list[str]) -> NDArray[np.float32]:
    """One tile's output as it is decoded. Raises Refused when its values are not what the layout says."""
    output = _packed(outputs, layout, 1)
    match layout.layout:
        case "yolov8":
            scores, places = output[:, 4:], output[:, :2]
        case "yolov5" | "yolox":
            scores, places = output[..., 4:], output[..., :2]
        case _:
            scores, places = _finished(output, layout, warnings)
    check_scores(scores, f"Output {layout.scores or layout.name!r}")
    if layout.layout != "yolox" and places.size and np.median(np.abs(places)) < _FRACTION_MAX:
        raise Refused("Its boxes are fractions of the picture; they must be in pixels. Export it without normalising.")
    try:
        candidates(output, layout, image)
    except ManifestError as error:
        raise Refused(str(error)) from None
    return output


def _finished(
    output: NDArray[np.float32], layout: DetectionOutput, warnings: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores and corners of rows as of `end2end`; none where the model found nothing, which a good one may well."""
    # Where a count says how many are meant, the others may hold anything.
    if not (output[..., 4] if layout.count else output[..., :5]).any():
        warnings.append("It found nothing in a made-up picture, so its answers are unproven: try it on one of yours.")
        return output[:, :0, 4], output[:, :0, :4]
    rows = output[output[..., 4] > _SURE]
    labels = rows[:, 5]
    if (labels != np.round(labels)).any() or (labels < 0).any() or (labels >= len(layout.labels)).any():
        raise Refused(
            f"It answers the label {labels[np.argmax(np.abs(labels))]:g}, but there are {len(layout.labels)} labels: "
            "another list of labels, or another layout, is meant."
        )
    return output[..., 4], rows[:, :4]


def _tile_batch(
    session: Session,
    image: ImageInput,
    layout: DetectionOutput,
    tiles: NDArray[np.uint8],
    alone: NDArray[np.float32],
    warnings: list[str],
) -> int:
    """How many tiles a run takes: 1 where the graph is fixed to it, or answers otherwise to a tile among others."""
    if session.inputs[0].shape[0] == 1:
        warnings.append(
            "Its batch is fixed at 1, so tiles run one by one; exported with a free batch they run together."
        )
        return 1
    try:
        together = _packed(_run(session, image, tiles), layout, len(tiles))
    except Refused as error:
        warnings.append(f"Tiles run one by one: {error}")
        return 1
    same = len(together) == len(tiles) and together[-1:].shape == alone.shape
    if not same or not np.allclose(together[-1:], alone, rtol=1e-2, atol=1e-2):
        warnings.append("It answers otherwise to a picture among others than to it alone, so tiles run one by one.")
        return 1
    return len(tiles)
