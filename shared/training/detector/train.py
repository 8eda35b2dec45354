"""Train the detector on generated boards, on a CPU, within a given time.

python -m training.detector.train --variant n --minutes 75 --out build/board-defects-n

A training that was stopped goes on with `--resume`; the time already spent counts.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training.boards import LABELS, LOOKS, Look
from training.detector.data import batches, load_pool
from training.detector.loss import Targets, detection_loss
from training.detector.network import VARIANTS, Detector
from training.detector.validate import score_boards

_WARM_STEPS = 200
_FLOOR = 0.01  # of the learning rate, at the end
_LOG_EVERY = 50
_SAVE_SECONDS = 240.0
_CHECK_SECONDS = 720.0
_AVERAGE_DECAY = 0.9995
CHECKPOINT = "checkpoint.pt"


@dataclass
class _Progress:
    """How far a training has come; seconds are of training, without drawing the boards."""

    step: int = 0
    seconds: float = 0.0


class _Training:
    """A model, its running average and its optimiser, to be stepped, saved and taken up again."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.out: Path = options.out
        self.model = Detector(options.variant).to(memory_format=torch.channels_last)
        self.average = Detector(options.variant).eval().requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.AdamW(_groups(self.model), lr=options.rate)
        self.progress = _Progress()

    def resume(self) -> None:
        """Take up what `save` wrote."""
        stored = torch.load(self.out / CHECKPOINT, map_location="cpu", weights_only=True)
        self.model.load_state_dict(stored["model"])
        self.average.load_state_dict(stored["average"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.progress = _Progress(stored["step"], stored["seconds"])

    def save(self) -> None:
        """Write the checkpoint; a reader sees the old one or the new one, never a part."""
        self.out.mkdir(parents=True, exist_ok=True)
        partial = self.out / (CHECKPOINT + ".partial")
        state = {
            "variant": self.options.variant,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.progress.step,
            "seconds": self.progress.seconds,
        }
        torch.save(state, partial)
        partial.replace(self.out / CHECKPOINT)

    def step(self, images: torch.Tensor, targets: Targets, share: float) -> dict[str, float]:
        """One step, `share` of the time being over; the parts of the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * _rate(self.progress.step, share)
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16):
            raw = self.model.raw(images.contiguous(memory_format=torch.channels_last))
        loss, parts = detection_loss(raw, targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimiser.step()
        self.progress.step += 1
        self._follow()
        return parts

    def _follow(self) -> None:
        decay = _AVERAGE_DECAY * (1 - math.exp(-self.progress.step / 800))
        for slow, fast in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - decay)
            else:
                slow.copy_(fast)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Weights of convolutions decay; biases and norms do not."""
    kernels = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [{"params": kernels, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]


def _rate(step: int, share: float) -> float:
    """The share of the learning rate: a short climb, then half a cosine over the time given."""
    warm = min(1.0, (step + 1) / _WARM_STEPS)
    return warm * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def _check(average: Detector, looks: Iterable[Look] = LOOKS) -> str:
    lines = []
    for look in looks:
        for scale in (1.0, 0.5, 0.25):
            mean, _ = score_boards(average, look, scale, count=3)
            lines.append(f"{look} {scale}: {mean:.3f}")
    return ", ".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Train until `--minutes` are over; checkpoints go to `--out`."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    training = _Training(options)
    if options.resume:
        training.resume()
    pool = load_pool(options.pool, options.boards)
    print(f"{len(pool)} boards, {len(LABELS)} labels, variant {options.variant}", flush=True)
    _loop(training, batches(pool, options.batch, options.seed + training.progress.step))
    training.save()
    print(_check(training.average), flush=True)


def _loop(training: _Training, source: Iterable[tuple[torch.Tensor, Targets]]) -> None:
    progress, budget = training.progress, training.options.minutes * 60
    began = time.monotonic() - progress.seconds
    saved = checked = progress.seconds
    sums: dict[str, float] = {}
    for images, targets in source:
        parts = training.step(images, targets, progress.seconds / budget)
        progress.seconds = time.monotonic() - began
        sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
        if progress.step % _LOG_EVERY == 0:
            losses = " ".join(f"{name} {value / _LOG_EVERY:.4f}" for name, value in sums.items())
            print(f"step {progress.step} at {progress.seconds:.0f} s: {losses}", flush=True)
            sums = {}
        if progress.seconds >= budget:
            return
        if progress.seconds - saved > _SAVE_SECONDS:
            training.save()
            saved = progress.seconds
        if progress.seconds - checked > _CHECK_SECONDS:
            print(_check(training.average), flush=True)
            checked = progress.seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.detector.train", description=__doc__)
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="n")
    parser.add_argument("--minutes", type=float, default=75.0, help="training time in all")
    parser.add_argument("--out", type=Path, default=Path("build/board-defects-n"))
    parser.add_argument("--pool", type=Path, default=Path("build/boards"), help="drawn boards")
    parser.add_argument("--boards", type=int, default=500, help="boards in the pool")
    parser.add_argument("--batch", type=int, default=16, help="crops a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    return parser


if __name__ == "__main__":
    main()
