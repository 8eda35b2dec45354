"""Train the detector on generated boards, on a CPU or a GPU, within a given time.

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
from torch import Tensor, nn

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
_AVERAGED_CROPS = 32_000
"""How far back the averaged weights reach."""
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
        self.device = torch.device(options.device)
        self.model = Detector(options.variant).to(self.device).to(memory_format=torch.channels_last)
        self.average = Detector(options.variant).to(self.device).eval().requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.AdamW(_groups(self.model), lr=options.rate)
        self.progress = _Progress()

    def resume(self) -> None:
        """Take up what `save` wrote."""
        stored = torch.load(self.out / CHECKPOINT, map_location=self.device, weights_only=True)
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

    def step(self, images: torch.Tensor, targets: Targets, share: float) -> dict[str, Tensor]:
        """One step, `share` of the time being over; the parts of the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * _rate(self.progress.step, share)
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            raw = self.model.raw(images.to(self.device).contiguous(memory_format=torch.channels_last))
        loss, parts = detection_loss(raw, targets.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]  # torch may be absent
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimiser.step()
        self.progress.step += 1
        self._follow()
        return parts

    def _follow(self) -> None:
        crops = self.progress.step * self.options.batch
        decay = math.exp(-self.options.batch / _AVERAGED_CROPS) * (1 - math.exp(-crops / 12_800))
        slow, fast = _floats(self.average), _floats(self.model)
        torch._foreach_lerp_(slow, fast, 1 - decay)


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Weights of convolutions decay; biases and norms do not."""
    kernels = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [{"params": kernels, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]


def _floats(model: nn.Module) -> list[Tensor]:
    """Weights and the norms' running figures: what is averaged."""
    return [value for value in model.state_dict().values() if value.is_floating_point()]


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
    torch.backends.cudnn.benchmark = True  # every crop has the same shape
    training = _Training(options)
    if options.resume:
        training.resume()
    pool = load_pool(options.pool, options.boards)
    print(f"{len(pool)} boards, {len(LABELS)} labels, variant {options.variant}", flush=True)
    _loop(training, batches(pool, options.batch, options.seed + training.progress.step, options.workers))
    training.save()
    print(_check(training.average), flush=True)


def _loop(training: _Training, source: Iterable[tuple[torch.Tensor, Targets]]) -> None:
    progress, budget = training.progress, training.options.minutes * 60
    began = time.monotonic() - progress.seconds
    saved = checked = progress.seconds
    sums: dict[str, Tensor] = {}
    for images, targets in source:
        parts = training.step(images, targets, progress.seconds / budget)
        progress.seconds = time.monotonic() - began
        sums = {name: sums[name] + value if name in sums else value for name, value in parts.items()}
        if progress.step % _LOG_EVERY == 0:
            losses = " ".join(f"{name} {float(value) / _LOG_EVERY:.4f}" for name, value in sums.items())
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
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--workers", type=int, default=1, help="processes that cut crops")
    parser.add_argument("--resume", action="store_true")
    return parser


if __name__ == "__main__":
    main()
