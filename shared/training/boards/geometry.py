"""Small plane geometry: offset polylines, blobs and strips as lists of points.

Points are float64[K, 2], (x, y) in pixels; x grows to the right, y downwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def unit(vector: Points) -> Points:
    """`vector` float64[2] with length one."""
    length: float = np.hypot(vector[0], vector[1])
    return vector / length


def normal(direction: Points) -> Points:
    """The unit vector at a right angle to the unit vector `direction`."""
    return np.array([-direction[1], direction[0]])


def offset_polyline(line: Points, offset: float) -> Points:
    """`line` moved sideways by `offset` pixels, corners mitred so that gaps stay constant."""
    directions = [unit(step) for step in np.diff(line, axis=0)]
    normals = [normal(direction) for direction in directions]
    moved = [line[0] + offset * normals[0]]
    for before, after, corner in zip(normals, normals[1:], line[1:-1], strict=False):
        moved.append(corner + offset * (before + after) / (1.0 + before @ after))
    moved.append(line[-1] + offset * normals[-1])
    return np.array(moved)


def blob(rng: np.random.Generator, centre: Points, along: Points, length: float, depth: float) -> Points:
    """An uneven ellipse: `length` pixels along the unit vector `along`, `depth` across it."""
    angles = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    radii = rng.uniform(0.8, 1.12, angles.size)
    across = normal(along)
    reach = np.outer(np.cos(angles) * radii * length / 2, along)
    return centre + reach + np.outer(np.sin(angles) * radii * depth / 2, across)


def strip(rng: np.random.Generator, start: Points, end: Points, width: float, roughness: float) -> Points:
    """A band from `start` to `end`, `width` pixels wide, with edges uneven by `roughness` pixels."""
    direction = unit(end - start)
    across = normal(direction)
    steps = np.linspace(0.0, 1.0, 5)[:, None]
    middle = start + steps * (end - start)
    left = middle + (width / 2 + rng.uniform(-roughness, roughness, (5, 1))) * across
    right = middle - (width / 2 + rng.uniform(-roughness, roughness, (5, 1))) * across
    return np.concatenate([left, right[::-1]])


def rectangle(centre: Points, along: Points, length: float, depth: float) -> Points:
    """A rectangle of `length` by `depth` pixels around `centre`, its length along `along`."""
    reach, across = along * length / 2, normal(along) * depth / 2
    return np.array(
        [
            centre - reach - across,
            centre + reach - across,
            centre + reach + across,
            centre - reach + across,
        ]
    )
