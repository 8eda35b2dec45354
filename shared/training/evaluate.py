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

from inference_core.cpu import usable_cores
from inference_core.detection import DetectionPipeline
from inference_core.manifest import DetectionOutput, read_manifest
from inference_core.registry import read_manifests
from inference_core.session import Session
from PIL import Image

from training.boards import LABELS, LOOKS, Board, make_board
from training.scoring import SCORE_MIN, Detections, Score, Truth, scale_key, score_detections
from training.seeds import EVALUATION_START, require_evaluation

MODELS = Path(__file__).resolve().parents[1] / "models"
SCALES = (1.0, 0.5, 0.25)
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Sample:
    """One evaluation board as a client would send it, and what is on it."""

    body: bytes
    board: Board


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


def find(pipeline: DetectionPipeline, samples: Sequence[Sample], scale: float) -> list[Detections]:
    """The detections of each sample, in pixels of the whole picture."""
    found = []
    for index, sample in enumerate(samples, 1):
        found.append(pipeline.predict(sample.body, scale=scale).fields["detections"])
        _progress(f"scale {scale:g}: board {index} of {len(samples)}")
    _progress("")
    return found


def score(samples: Sequence[Sample], found: Sequence[Detections], serving_score_min: float) -> Score:
    """How well `found` agrees with the boards' own boxes."""
    return score_detections([truth_of(sample.board) for sample in samples], found, LABELS, serving_score_min)


def truth_of(board: Board) -> Truth:
    """What is on a board, for the scoring."""
    height, width = board.pixels.shape
    return Truth(width, height, board.boxes, board.labels)


def write_accuracy(folder: Path, scores: dict[float, Score], data: str, count: int, command: str) -> None:
    """Replace the `[accuracy]` part of `model.toml`, its last one, by what was just measured."""
    path = folder / "model.toml"
    full = scores[1.0]
    more = full.more() | {scale_key(scale): s.map_50 for scale, s in scores.items() if scale != 1.0}
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
