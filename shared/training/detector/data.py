"""What the detector is trained on: crops of a pool of generated boards.

Boards are drawn once into a folder and kept in memory; every crop is cut at a random place,
brought to a random scale, flipped, turned and lit anew, so a pool of some hundred boards is enough.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.boards import make_board
from training.detector.loss import Targets
from training.seeds import require_training

BOARD_WIDTH, BOARD_HEIGHT = 1920, 1440
CROP = 320  # side of a training crop in pixels
SMALLEST_SCALE, LARGEST_SCALE = 0.25, 1.25
_DEFECTS_A_BOARD = 40
_LEAST_VISIBLE = 0.5  # of a defect's box that a crop cuts through


@dataclass(frozen=True)
class Sample:
    """pixels uint8[H, W]; boxes float32[K, 4] xyxy pixels; labels int64[K]."""

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def load_pool(folder: Path, count: int, first_seed: int = 0) -> list[Sample]:
    """`count` training boards, read from `folder`, drawn there first where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [require_training(first_seed + number) for number in range(count)]
    missing = [seed for seed in seeds if not _path(folder, seed).exists()]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as workers:
        list(workers.map(_draw, missing, [folder] * len(missing), chunksize=4))
    return [_read(_path(folder, seed)) for seed in seeds]


def _path(folder: Path, seed: int) -> Path:
    return folder / f"board-{seed:06d}.npz"


def _draw(seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    count = int(_DEFECTS_A_BOARD * rng.uniform(0.4, 1.3))
    board = make_board(require_training(seed), BOARD_WIDTH, BOARD_HEIGHT, defect_count=count)
    pixels = board.pixels
    if rng.random() < 0.5:
        # Half of the boards have been through a JPEG file, as the pictures that are served have.
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(80, 96)))
        pixels = np.asarray(Image.open(file))
    partial = _path(folder, seed).with_suffix(".partial.npz")
    np.savez(partial, pixels=pixels, boxes=board.boxes, labels=board.labels)
    partial.rename(_path(folder, seed))


def _read(path: Path) -> Sample:
    with np.load(path) as stored:
        return Sample(stored["pixels"], stored["boxes"], stored["labels"])


def draw_crop(rng: np.random.Generator, sample: Sample) -> Sample:
    """A crop of CROP x CROP pixels of `sample`, augmented."""
    # Fewer of the coarse scales: their crops hold up to sixteen times as many defects, which would
    # otherwise decide what is learnt.
    scale = LARGEST_SCALE - (LARGEST_SCALE - SMALLEST_SCALE) * rng.random() ** 1.5
    side = round(CROP / scale)
    left = int(rng.integers(0, sample.pixels.shape[1] - side + 1))
    top = int(rng.integers(0, sample.pixels.shape[0] - side + 1))
    region = Image.fromarray(sample.pixels[top : top + side, left : left + side])
    method = Image.Resampling.BOX if side > CROP else Image.Resampling.BILINEAR
    pixels = np.asarray(region.resize((CROP, CROP), method))
    boxes, labels = _visible(sample, left, top, side)
    return _light(rng, _turn(rng, Sample(pixels, boxes, labels)))


def _visible(sample: Sample, left: int, top: int, side: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The boxes inside a square region, cut at its edges and scaled to the crop."""
    moved = sample.boxes - np.array([left, top, left, top], dtype=np.float32)
    cut = moved.clip(0, side)
    area = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    seen = (cut[:, 2:] - cut[:, :2]).prod(axis=1)
    keep = seen > _LEAST_VISIBLE * area
    return cut[keep] * np.float32(CROP / side), sample.labels[keep]


def _turn(rng: np.random.Generator, sample: Sample) -> Sample:
    """One of the eight flips and quarter turns of a square."""
    pixels, boxes = sample.pixels, sample.boxes
    if rng.random() < 0.5:
        pixels, boxes = pixels.T, boxes[:, [1, 0, 3, 2]]
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        boxes = _mirror(boxes, 0)
    if rng.random() < 0.5:
        pixels = pixels[::-1]
        boxes = _mirror(boxes, 1)
    return Sample(pixels, boxes, sample.labels)


def _mirror(boxes: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """`boxes` of a crop mirrored along x (axis 0) or y (axis 1)."""
    mirrored = boxes.copy()
    mirrored[:, axis], mirrored[:, axis + 2] = CROP - boxes[:, axis + 2], CROP - boxes[:, axis]
    return mirrored


def _light(rng: np.random.Generator, sample: Sample) -> Sample:
    """Brightness and contrast changed, as by another lamp."""
    if rng.random() < 0.3:
        return sample
    gain, shift = rng.uniform(0.7, 1.3), rng.uniform(-25, 25)
    table = np.clip((np.arange(256) - 110) * gain + 110 + shift, 0, 255).astype(np.uint8)
    return Sample(table[sample.pixels], sample.boxes, sample.labels)


def collate(samples: list[Sample]) -> tuple[torch.Tensor, Targets]:
    """Crops as images uint8[N, 1, CROP, CROP] and the targets of all of them."""
    pixels = np.stack([sample.pixels for sample in samples])[:, None]
    counts = [len(sample.labels) for sample in samples]
    image = np.repeat(np.arange(len(samples)), counts)
    label = np.concatenate([sample.labels for sample in samples])
    box = np.concatenate([sample.boxes for sample in samples]).astype(np.float32)
    targets = Targets(torch.from_numpy(image), torch.from_numpy(label), torch.from_numpy(box))
    return torch.from_numpy(np.ascontiguousarray(pixels)), targets


Batch = tuple[torch.Tensor, Targets]


class _Batches(IterableDataset[Batch]):  # type: ignore[misc, unused-ignore]  # torch may be absent where types are checked
    """Batches of `size` crops without end; each worker draws its own."""

    def __init__(self, pool: list[Sample], size: int, seed: int) -> None:
        self._pool, self._size, self._seed = pool, size, seed

    def __iter__(self) -> Iterator[Batch]:
        """Never ends."""
        worker = get_worker_info()
        rng = np.random.default_rng((self._seed, worker.id if worker else 0))
        while True:
            chosen = rng.integers(len(self._pool), size=self._size)
            yield collate([draw_crop(rng, self._pool[index]) for index in chosen])


def batches(pool: list[Sample], size: int, seed: int, workers: int) -> Iterator[Batch]:
    """Batches of `size` crops without end, cut by `workers` processes ahead of the training."""
    return iter(DataLoader(_Batches(pool, size, seed), batch_size=None, num_workers=workers, prefetch_factor=8))
