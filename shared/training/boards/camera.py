"""How a line camera shows the copper: two looks, each with its own trouble for a detector.

`thresholded`: black and white, as an inspection machine that compares against a master sees it;
edges jitter because the threshold cuts through blur and noise.
`lit`: grey copper on grey substrate under uneven light, slightly turned, blurred, noisy, dusty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.boards.canvas import Drill

Look = Literal["thresholded", "lit"]
LOOKS: tuple[Look, ...] = ("thresholded", "lit")
MAX_TURN_DEGREES = 2.0

Grey = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """Where the picture lies on the larger sheet: its middle, its turn and its size in pixels."""

    centre: tuple[float, float]
    turn: float  # radians
    width: int
    height: int

    def to_picture(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sheet points float64[K, 2] as picture points."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        x, y = (points - np.array(self.centre)).T
        half = np.array([self.width / 2, self.height / 2])
        turned: NDArray[np.float64] = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
        moved: NDArray[np.float64] = turned + half
        return moved

    def resample(self, image: Image.Image) -> Image.Image:
        """The part of the sheet that the picture shows, bilinear when turned."""
        size = (self.width, self.height)
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        half_x, half_y = self.width / 2, self.height / 2
        across = self.centre[0] - cos * half_x - sin * half_y
        down = self.centre[1] + sin * half_x - cos * half_y
        affine = (cos, sin, across, -sin, cos, down)
        return image.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)


def sheet_margin(width: int, height: int) -> int:
    """How many pixels a sheet must reach beyond the picture so that no turn shows its edge."""
    return math.ceil(math.sin(math.radians(MAX_TURN_DEGREES)) * max(width, height) / 2) + 8


def choose_view(rng: np.random.Generator, look: Look, width: int, height: int) -> View:
    """A view on the middle of the sheet, turned by up to 2 degrees when lit."""
    margin = sheet_margin(width, height)
    turn = float(rng.uniform(-1, 1)) * math.radians(MAX_TURN_DEGREES) if look == "lit" else 0.0
    return View((width / 2 + margin, height / 2 + margin), turn, width, height)


def photograph(
    rng: np.random.Generator,
    copper: NDArray[np.bool_],
    drills: list[Drill],
    view: View,
    look: Look,
    zoom: float,
) -> NDArray[np.uint8]:
    """The sheet `copper` bool[h, w] as the picture uint8[view.height, view.width]."""
    mask = view.resample(Image.fromarray(copper.astype(np.uint8) * 255))
    if look == "thresholded":
        return _thresholded(rng, mask, zoom)
    return _lit(rng, mask, _holes(copper.shape, drills, view), zoom)


def _noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> Grey:
    """Smooth noise of about unit deviation, float32[shape], with spots of `grain` pixels."""
    height, width = shape
    coarse = (max(2, round(height / grain)), max(2, round(width / grain)))
    values = rng.standard_normal(coarse, dtype=np.float32)
    image = Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _thresholded(rng: np.random.Generator, mask: Image.Image, zoom: float) -> NDArray[np.uint8]:
    blurred = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.9, 2.2)) * zoom))
    level = np.asarray(blurred, dtype=np.float32)
    shape = (level.shape[0], level.shape[1])
    level = level + float(rng.uniform(16, 46)) * _noise(rng, shape, 3 * zoom)
    level += float(rng.uniform(6, 22)) * rng.standard_normal(shape, dtype=np.float32)
    level += float(rng.uniform(0, 18)) * _noise(rng, shape, 60 * zoom)
    return (level > float(rng.uniform(104, 150))).astype(np.uint8) * np.uint8(255)


def _holes(shape: tuple[int, ...], drills: list[Drill], view: View) -> Image.Image:
    sheet = Image.new("L", (shape[1], shape[0]), 0)
    pen = ImageDraw.Draw(sheet)
    for drill in drills:
        box = (drill.x - drill.radius, drill.y - drill.radius)
        pen.ellipse((*box, drill.x + drill.radius, drill.y + drill.radius), fill=255)
    return view.resample(sheet)


def _lit(rng: np.random.Generator, mask: Image.Image, holes: Image.Image, zoom: float) -> NDArray[np.uint8]:
    blur = ImageFilter.GaussianBlur(float(rng.uniform(0.7, 2.4)) * zoom)
    cover = np.asarray(mask.filter(blur), dtype=np.float32) / 255
    shape = (cover.shape[0], cover.shape[1])
    substrate = float(rng.uniform(40, 110))
    contrast = float(rng.uniform(20, 85))
    picture: Grey = np.multiply(cover, contrast, dtype=np.float32)
    picture += substrate
    picture += cover * _noise(rng, shape, float(rng.uniform(2, 5)) * zoom) * float(rng.uniform(4, 12))
    picture += _noise(rng, shape, float(rng.uniform(3, 9)) * zoom) * float(rng.uniform(3, 10))
    picture += _noise(rng, shape, 150 * zoom) * float(rng.uniform(1, 7))
    drilled = np.asarray(holes.filter(blur), dtype=np.float32) / 255
    picture -= drilled * (substrate - float(rng.uniform(8, 40)))
    picture = _dust(rng, picture, substrate, contrast, zoom)
    picture *= _light(rng, shape)
    picture += rng.standard_normal(shape, dtype=np.float32) * float(rng.uniform(5, 18))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _light(rng: np.random.Generator, shape: tuple[int, int]) -> Grey:
    """The share of light that falls on each pixel: a slope along and a bow across."""
    height, width = shape
    slopes = rng.uniform(-0.16, 0.16, 2)
    bow = float(rng.uniform(0.0, 0.18))
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(slopes[0])
    along = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    light: Grey = 1 + down + along * np.float32(slopes[1]) - along**2 * np.float32(bow)
    return light


def _dust(rng: np.random.Generator, picture: Grey, substrate: float, contrast: float, zoom: float) -> Grey:
    """Specks and fibres: soft, half transparent, lying across copper and substrate alike."""
    height, width = picture.shape
    layer = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(layer)
    megapixels = width * height / zoom**2 / 1e6
    for _ in range(int(rng.poisson(12 * megapixels))):
        x, y = rng.uniform((0, 0), (width, height))
        opacity = int(rng.integers(60, 200))
        if rng.random() < 0.6:
            radius = float(rng.uniform(2, 9)) * zoom
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=opacity)
        else:
            path = np.cumsum(rng.normal(0, 14 * zoom, (6, 2)), axis=0) + np.array([x, y])
            points = [(float(a), float(b)) for a, b in path]
            pen.line(points, fill=opacity, width=max(1, round(2.5 * zoom)), joint="curve")
    soft = layer.filter(ImageFilter.GaussianBlur(2.2 * zoom))
    share = np.asarray(soft, dtype=np.float32) / 255
    # Dust is neither as dark as substrate nor as bright as copper: a defect always is one of them.
    tone = substrate + contrast * float(rng.uniform(0.25, 0.75))
    dusty: Grey = picture + share * (np.float32(tone) - picture)
    return dusty
