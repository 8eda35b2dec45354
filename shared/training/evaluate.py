"""`python -m training.evaluate`: how well a detector sees, measured through the pipeline that serves it.

Boards come from evaluation seeds, which training never draws (`training.seeds`); each is encoded as a JPEG, sent
through `DetectionPipeline` and scored with COCO's method (faster-coco-eval). With `--write` the figure of the full
scale goes into the model's `model.toml`, the others beside it.
"""

import argparse
import dataclasses
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from inference_core.cpu import usable_cores
from inference_core.detection import DetectionPipeline
from inference_core.manifest import DetectionOutput, read_manifest
from inference_core.registry import read_manifests
from inference_core.session import Session
from numpy.typing import NDArray
from PIL import Image

from training.boards import LABELS, LOOKS, Board, make_board
from training.seeds import EVALUATION_START, require_evaluation

MODELS = Path(__file__).resolve().parents[1] / "models"
SCALES = (1.0, 0.5, 0.25)
JPEG_QUALITY = 90
SCORE_MIN = 0.01
"""Average precision integrates over all scores, so boxes far below the serving threshold count too."""
SMALL_PX = 32
"""COCO's border between small and medium: an area of 32 x 32 px."""
BOXES_MAX = 500


@dataclass(frozen=True)
class Sample:
    """One evaluation board as a client would send it, and what is on it."""

    body: bytes
    board: Board


@dataclass(frozen=True)
class Score:
    """Accuracy over a set of boards, 0..1: average precision over labels; precision and recall of what the service
    reports, boxes from the serving threshold on, at IoU 0.5 and with the right label.
    """

    map_50: float
    map_50_95: float
    precision: float
    recall_small: float
    recall_large: float


def make_samples(count: int, width: int, height: int, first_seed: int = EVALUATION_START) -> list[Sample]:
    """`count` boards from consecutive evaluation seeds, both looks in turn."""
    samples = []
    for seed in range(first_seed, first_seed + count):
        board = make_board(require_evaluation(seed), width, height, look=LOOKS[seed % len(LOOKS)])
        file = io.BytesIO()
        Image.fromarray(board.pixels).save(file, "JPEG", quality=JPEG_QUALITY)
        samples.append(Sample(file.getvalue(), board))
    return samples


def open_detector(folder: Path, *, score_min: float = SCORE_MIN) -> DetectionPipeline:
    """The model in `folder` as it is served, but reporting boxes from `score_min` on."""
    manifest = read_manifest(folder)
    assert isinstance(manifest.output, DetectionOutput)
    manifest = dataclasses.replace(manifest, output=dataclasses.replace(manifest.output, score_min=score_min))
    session = Session(manifest.model_bytes, threads=usable_cores())
    return DetectionPipeline(manifest, session, pixels_max=1 << 30)


def find(pipeline: DetectionPipeline, samples: Sequence[Sample], scale: float) -> list[list[dict[str, Any]]]:
    """The detections of each sample, in pixels of the whole picture."""
    found = []
    for index, sample in enumerate(samples, 1):
        found.append(pipeline.predict(sample.body, scale=scale).fields["detections"])
        _progress(f"scale {scale:g}: board {index} of {len(samples)}")
    _progress("")
    return found


def score(samples: Sequence[Sample], found: Sequence[list[dict[str, Any]]], serving_score_min: float) -> Score:
    """COCO's average precision of `found` against the boards' own boxes."""
    result = COCOeval_faster(_truth(samples), None, "bbox", print_function=lambda *_: None)
    result.cocoDt = result.cocoGt.loadRes(_results(found))
    result.params.maxDets = [BOXES_MAX]
    result.params.areaRng = [[0, 1e10]]
    result.params.areaRngLbl = ["all"]
    result.evaluate()
    result.accumulate()
    precision = np.asarray(result.eval["precision"])  # [IoU thresholds, recalls, labels, areas, limits]
    reported = [[d for d in detections if d["score"] >= serving_score_min] for detections in found]
    return Score(_mean(precision[0]), _mean(precision), _precision(samples, reported), *_recall(samples, reported))


def _mean(precision: NDArray[np.float64]) -> float:
    present = precision[precision > -1]  # COCO marks labels without any object by -1
    return float(present.mean()) if present.size else float("nan")


def _truth(samples: Sequence[Sample]) -> COCO:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, sample in enumerate(samples, 1):
        height, width = sample.board.pixels.shape
        images.append({"id": image_id, "width": width, "height": height})
        for box, label in zip(sample.board.boxes.tolist(), sample.board.labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index, "name": label} for index, label in enumerate(LABELS, 1)]
    return COCO({"images": images, "annotations": annotations, "categories": categories})


def _results(found: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    results = []
    for image_id, detections in enumerate(found, 1):
        for detection in detections:
            x1, y1, x2, y2 = detection["box"]
            results.append(
                {
                    "image_id": image_id,
                    "category_id": LABELS.index(detection["label"]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": detection["score"],
                }
            )
    # An empty list is refused by the library; one box of no weight on no object changes no figure.
    return results or [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.0}]


def _precision(samples: Sequence[Sample], reported: Sequence[list[dict[str, Any]]]) -> float:
    """Share of the reported boxes that lie on a defect of their label."""
    hits = []
    for sample, detections in zip(samples, reported, strict=True):
        for detection in detections:
            same = sample.board.boxes[sample.board.labels == LABELS.index(detection["label"])]
            hits.append(len(same) > 0 and _best_overlap(np.array(detection["box"]), same) >= 0.5)
    return float(np.mean(hits)) if hits else float("nan")


def _recall(samples: Sequence[Sample], reported: Sequence[list[dict[str, Any]]]) -> tuple[float, float]:
    """Share of the defects below and from 32 x 32 px that are reported with the right label."""
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for sample, detections in zip(samples, reported, strict=True):
        for box, label in zip(sample.board.boxes, sample.board.labels, strict=True):
            same = [d["box"] for d in detections if d["label"] == LABELS[int(label)]]
            side = box[2:] - box[:2]
            hits[bool(side.prod() < SMALL_PX**2)].append(bool(same) and _best_overlap(box, np.array(same)) >= 0.5)
    small, large = (float(np.mean(hits[key])) if hits[key] else float("nan") for key in (True, False))
    return small, large


def _best_overlap(box: NDArray[Any], others: NDArray[Any]) -> float:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    areas = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    return float((shared / (areas - shared)).max())


def write_accuracy(folder: Path, scores: dict[float, Score], data: str, count: int, command: str) -> None:
    """Replace the `[accuracy]` part of `model.toml`, its last one, by what was just measured."""
    path = folder / "model.toml"
    full = scores[1.0]
    more = {"map_50_95": full.map_50_95, "precision": full.precision}
    more |= {"recall_small": full.recall_small, "recall_large": full.recall_large}
    more |= {f"map_50_scale_{scale:g}".replace(".", "_"): s.map_50 for scale, s in scores.items() if scale != 1.0}
    lines = [
        "[accuracy]",
        'metric = "mAP@0.5"',
        f"value = {full.map_50:.4f}",
        f'data = "{data}"',
        f"count = {count}",
        f'measured = "{command}"',
        "[accuracy.more]",
        *(f"{name} = {value:.4f}" for name, value in more.items()),
    ]
    path.write_text(path.read_text().partition("[accuracy]")[0].rstrip() + "\n" + "\n".join(lines) + "\n")
    read_manifest(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate one model, or every detector."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description="Accuracy on unseen boards.")
    parser.add_argument("--model", help="name of one model (default: every detector)")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR")
    parser.add_argument("--boards", type=int, default=40)
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--height", type=int, default=2160)
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES)
    parser.add_argument("--write", action="store_true", help="write the figures into model.toml")
    options = parser.parse_args(arguments)
    if options.write and 1.0 not in options.scales:
        parser.error("--write needs scale 1 among --scales: it is the figure of the manifest")
    samples = make_samples(options.boards, options.width, options.height)
    for manifest in read_manifests(options.models):
        if manifest.task == "detection" and options.model in (None, manifest.name):
            _evaluate(manifest.folder, samples, options)
    return 0


def _evaluate(folder: Path, samples: list[Sample], options: argparse.Namespace) -> None:
    pipeline = open_detector(folder)
    serving = read_manifest(folder).output
    assert isinstance(serving, DetectionOutput)
    scores = {}
    print(f"{folder.name}: {len(samples)} boards of {options.width} x {options.height} px")
    print("scale  look         mAP@0.5  mAP@0.5:0.95  precision  recall <32px  recall >=32px")
    for scale in options.scales:
        found = find(pipeline, samples, scale)
        scores[scale] = score(samples, found, serving.score_min)
        _print_score(scale, "all", scores[scale])
        for look in LOOKS:
            chosen = [index for index, sample in enumerate(samples) if sample.board.look == look]
            part = score([samples[i] for i in chosen], [found[i] for i in chosen], serving.score_min)
            _print_score(scale, str(look), part)
    if options.write:
        data = f"generated boards, {options.width} x {options.height} px, seeds {EVALUATION_START} and up"
        command = f"python -m training.evaluate --model {folder.name} --boards {options.boards} --write"
        write_accuracy(folder, scores, data, len(samples), command)


def _print_score(scale: float, look: str, s: Score) -> None:
    print(
        f"{scale:<6g} {look:<12} {s.map_50:>7.4f} {s.map_50_95:>13.4f} {s.precision:>10.4f}"
        f" {s.recall_small:>13.4f} {s.recall_large:>14.4f}",
        flush=True,
    )


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
