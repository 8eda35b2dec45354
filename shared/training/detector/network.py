"""The detector: a small fully convolutional network without anchors.

Input uint8[N, 1, H, W], grey, H and W multiples of 32; output float32[N, 4 + 6, A]: for each of
the A = H*W/64 + H*W/256 + H*W/1024 cells the box centre x, y, width, height in input pixels and
one score per label. The shape is that of YOLOv8 exports, so one postprocessing serves both.

Chosen for ONNX Runtime on a CPU: 3x3 and 1x1 convolutions with ReLU, which fuses into them
(SiLU does not, and made a training step 2.4 times as long), features added, not concatenated,
channels in multiples of 16, the boxes as plain numbers instead of distributions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.boards import LABELS

STRIDES = (8, 16, 32)
_LARGEST_LOG_SIZE = 5.0  # keeps exp() finite: a box side is at most 148 strides


@dataclass(frozen=True)
class Variant:
    """Channels at strides 2, 4, 8, 16 and 32, and residual blocks at strides 4, 8, 16 and 32."""

    channels: tuple[int, int, int, int, int]
    blocks: tuple[int, int, int, int]


# About four times the compute a step (`count_flops`). m and l spend theirs on the fine strides, where defects of a few
# pixels are told apart: the same compute in the coarse ones would be three times the weights.
VARIANTS = {
    "n": Variant((16, 32, 48, 96, 128), (1, 2, 2, 1)),
    "s": Variant((32, 64, 96, 192, 256), (1, 2, 2, 1)),
    "m": Variant((48, 96, 144, 224, 256), (3, 6, 4, 2)),
    "l": Variant((64, 144, 224, 256, 256), (8, 14, 8, 3)),
}


class ConvNorm(nn.Sequential):  # type: ignore[misc, unused-ignore]  # torch may be absent where types are checked
    """Convolution, batch norm and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):  # type: ignore[misc, unused-ignore]  # torch may be absent where types are checked
    """Halve the channels with 1x1, restore them with 3x3, add to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(channels, channels // 2, 1), ConvNorm(channels // 2, channels, 3))

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, C, h, w] to the same shape."""
        out: Tensor = features + self.body(features)
        return out


def _stage(channels_in: int, channels_out: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [ConvNorm(channels_in, channels_out, 3, 2)]
    layers.extend(Residual(channels_out) for _ in range(blocks))
    return nn.Sequential(*layers)


class Detector(nn.Module):  # type: ignore[misc, unused-ignore]  # torch may be absent where types are checked
    """The network; `forward` gives boxes and scores, `raw` what the loss works on."""

    def __init__(self, variant: str = "n", labels: int = len(LABELS)) -> None:
        super().__init__()
        size = VARIANTS[variant]
        c2, c4, c8, c16, c32 = size.channels
        d4, d8, d16, d32 = size.blocks
        self.variant = variant
        self.stem = ConvNorm(1, c2, 3, 2)
        self.stage4 = _stage(c2, c4, d4)
        self.stage8 = _stage(c4, c8, d8)
        self.stage16 = _stage(c8, c16, d16)
        self.stage32 = _stage(c16, c32, d32)
        self.lateral = nn.ModuleList(nn.Conv2d(c, c8, 1) for c in (c8, c16, c32))
        self.smooth = nn.ModuleList(Residual(c8) for _ in range(2))
        self.heads = nn.ModuleList(_head(c8, labels) for _ in STRIDES)
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest")

    def raw(self, images: Tensor) -> list[Tensor]:
        """Images uint8[N, 1, H, W] to one [N, 4 + labels, H / stride, W / stride] a stride."""
        fine = self.stage8(self.stage4(self.stem(images.float() / 255)))
        middle = self.stage16(fine)
        coarse = self.stage32(middle)
        top = self.lateral[2](coarse)
        centre = self.smooth[1](self.lateral[1](middle) + self.upsample(top))
        bottom = self.smooth[0](self.lateral[0](fine) + self.upsample(centre))
        levels = (bottom, centre, top)
        return [head(level) for head, level in zip(self.heads, levels, strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        """Images uint8[N, 1, H, W] to float32[N, 4 + labels, A]: boxes in pixels, scores 0..1."""
        boxes, logits = decode(self.raw(images))
        return torch.cat([boxes, logits.sigmoid()], dim=1)


def _head(channels: int, labels: int) -> nn.Sequential:
    last = nn.Conv2d(channels, 4 + labels, 1)
    assert last.bias is not None
    with torch.no_grad():
        last.bias[:4] = torch.tensor([0.0, 0.0, 0.8, 0.8])
        last.bias[4:] = -4.6  # 1 in 100: almost every cell is background
    return nn.Sequential(ConvNorm(channels, channels, 3), last)


def decode(raw: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Levels of [N, 4 + labels, h, w] to boxes [N, 4, A] (centre, size; pixels), logits [N, labels, A]."""
    boxes, logits = [], []
    for level, stride in zip(raw, STRIDES, strict=True):
        height, width = level.shape[2], level.shape[3]
        down = torch.arange(height, device=level.device).float() + 0.5
        along = torch.arange(width, device=level.device).float() + 0.5
        values = level.float()
        x = (values[:, 0] + along[None, None, :]) * stride
        y = (values[:, 1] + down[None, :, None]) * stride
        size = values[:, 2:4].clamp(max=_LARGEST_LOG_SIZE).exp() * stride
        boxes.append(torch.cat([x[:, None], y[:, None], size], dim=1).flatten(2))
        logits.append(values[:, 4:].flatten(2))
    return torch.cat(boxes, dim=2), torch.cat(logits, dim=2)


def count_flops(model: Detector, side: int = 640) -> float:
    """Operations (two per multiply-add) of the convolutions on a `side` x `side` image."""
    total = 0.0

    def add(layer: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d)
        total += 2.0 * out[0].numel() * layer.weight[0].numel()

    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(add) for layer in convolutions]
    with torch.no_grad():
        model.raw(torch.zeros(1, 1, side, side, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    return total
