"""Tiles cover the picture, and what they find becomes one box an object."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_core import images, tiling
from inference_core.tiling import Boxes, Tile
from numpy.typing import NDArray


def boxes(*rows: tuple[float, float, float, float], scores: list[float] | None = None, label: int = 0) -> Boxes:
    xyxy = np.array(rows, np.float32).reshape(-1, 4)
    return Boxes(xyxy, np.array(scores or [0.9] * len(rows), np.float32), np.full(len(rows), label))


def merge(
    found: Boxes, cut: list[bool] | None = None, windows: list[Tile] | None = None, iou_max: float = 0.5, **how: bool
) -> Boxes:
    """Merged boxes of one tile, or of `windows`, whole unless `cut` says otherwise."""
    seen = windows or [Tile(0, 0, 640, 640)] * len(found)
    borders = np.array(cut if cut is not None else [False] * len(found), bool)
    return tiling.merge(found, borders, tiling.windows_of(seen), iou_max=iou_max, **how)


@given(st.integers(1, 9000), st.integers(1, 5000), st.sampled_from([(640, 96), (320, 64), (64, 16)]))
def test_every_pixel_lies_in_a_tile_and_neighbours_overlap(width: int, height: int, tile: tuple[int, int]) -> None:
    tile_px, overlap_px = tile
    tiles = [t for t in tiling.plan(width, height, tile_px=tile_px, overlap_px=overlap_px) if t.shrink == 1.0]
    for starts, length in ((sorted({t.x for t in tiles}), width), (sorted({t.y for t in tiles}), height)):
        assert starts[0] == 0
        assert starts[-1] + min(tile_px, length) == length
        assert all(0 < b - a <= tile_px - overlap_px for a, b in pairwise(starts))


def test_a_4k_picture_at_640_px_takes_28_tiles_and_one_over_all() -> None:
    tiles = tiling.plan(3840, 2160, tile_px=640, overlap_px=96)
    assert len(tiles) == 29
    assert tiles[-1] == Tile(0, 0, 3840, 2160, shrink=6.0)


def test_a_picture_of_one_tile_has_no_second_pass() -> None:
    assert tiling.plan(500, 300, tile_px=640, overlap_px=96) == [Tile(0, 0, 500, 300)]


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_are_cut_in_batches_and_padded(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (100, 150, channels)).astype(np.uint8)
    tiles = tiling.plan(150, 100, tile_px=64, overlap_px=16)
    seen = 0
    for group, batch in tiling.batches(pixels, tiles, tile_px=64, size=4, shrink=images.shrink):
        assert batch.shape == (len(group), 64, 64, channels)
        for tile, cut in zip(group, batch, strict=True):
            if tile.shrink == 1.0:
                np.testing.assert_array_equal(cut, pixels[tile.y : tile.y + 64, tile.x : tile.x + 64])
        seen += len(group)
    assert seen == len(tiles)


def test_a_small_picture_is_padded_with_the_letterbox_grey() -> None:
    pixels = np.zeros((10, 20, 1), np.uint8)
    ((_, batch),) = tiling.batches(pixels, [Tile(0, 0, 20, 10)], tile_px=64, size=4, shrink=images.shrink)
    assert batch[0, :10, :20].max() == 0
    assert (batch[0, 10:] == tiling.PADDING).all()
    assert (batch[0, :, 20:] == tiling.PADDING).all()


@given(st.integers(0, 3824), st.integers(0, 2144))
def test_a_small_object_anywhere_is_found_once_and_whole(x: int, y: int) -> None:
    """Every tile reports its visible part of a 16 px object, as a perfect detector would."""
    width, height, overlap_px = 3840, 2160, 96
    target = np.array([x, y, x + 16, y + 16], np.float32)
    merged = merged_parts(target, width, height, overlap_px)
    np.testing.assert_array_equal(merged.xyxy, [target])


@pytest.mark.parametrize("side", range(84, 110))
def test_an_object_about_as_large_as_the_overlap_is_found_once_at_a_border(side: int) -> None:
    """1,728 px are three tiles of 640 px that overlap by 96 px exactly: no room to spare."""
    for corner in np.arange(500, 700, 0.5):
        target = np.array([corner, 1000, corner + side, 1000 + side], np.float32)
        merged = merged_parts(target, 1728, 1728, overlap_px=96)
        assert len(merged) == 1, f"from {corner} px"
        assert np.abs(merged.xyxy[0] - target).max() <= 6


@given(st.integers(0, 3000), st.integers(0, 1500), st.integers(8, 1800), st.integers(8, 1200))
def test_an_object_of_any_size_is_found_once(x: int, y: int, wide: int, high: int) -> None:
    width, height = 3840, 2160
    target = np.array([x, y, min(width, x + wide), min(height, y + high)], np.float32)
    merged = merged_parts(target, width, height, overlap_px=96)
    assert len(merged) == 1
    assert np.abs(merged.xyxy[0] - target).max() <= 6


def to_picture(part: Boxes, tile: Tile, **of_picture: int) -> tuple[Boxes, NDArray[np.bool_]]:
    """The boxes of one tile alone."""
    return tiling.each_to_picture([part], [tile], **of_picture)[0]


def merged_parts(target: NDArray[np.float32], width: int, height: int, overlap_px: int) -> Boxes:
    found, cut, tiles = [], [], []
    for tile in tiling.plan(width, height, tile_px=640, overlap_px=overlap_px):
        origin = np.array([tile.x, tile.y, tile.x, tile.y], np.float32)
        seen = np.clip((target - origin) / np.float32(tile.shrink), 0, 640)
        if (seen[2:] - seen[:2] > 1).all():
            part = boxes(tuple(seen.tolist()), scores=[0.5 + 0.4 * (tile.x % 7) / 7])
            moved, border = to_picture(part, tile, width=width, height=height, overlap_px=overlap_px)
            found.append(moved)
            cut.append(border)
            tiles.extend([tile] * len(moved))
    return tiling.merge(tiling.join(found), np.concatenate(cut), tiling.windows_of(tiles), iou_max=0.5)


def test_a_small_box_at_an_inner_border_is_left_to_the_neighbour_that_sees_it_whole() -> None:
    tile = Tile(0, 0, 640, 640)
    at_border, inside, large = (620, 100, 640, 120), (300, 300, 320, 320), (500, 200, 640, 400)
    moved, cut = to_picture(boxes(at_border, inside, large), tile, width=3840, height=2160, overlap_px=96)
    np.testing.assert_array_equal(moved.xyxy, [inside, large])
    assert cut.tolist() == [False, True]


def test_a_small_box_at_the_border_of_the_picture_stays() -> None:
    moved, cut = to_picture(boxes((620, 100, 640, 120)), Tile(0, 0, 640, 640), width=640, height=640, overlap_px=96)
    assert len(moved) == 1
    assert not cut.any()


def test_the_pass_over_the_whole_picture_adds_no_small_objects() -> None:
    tile = Tile(0, 0, 3840, 2160, shrink=6.0)
    moved, _ = to_picture(boxes((10, 10, 20, 20), (10, 10, 40, 30)), tile, width=3840, height=2160, overlap_px=96)
    np.testing.assert_array_equal(moved.xyxy, [[60, 60, 240, 180]])


def test_a_box_past_the_border_of_the_picture_is_clipped_and_one_outside_dropped() -> None:
    moved, cut = to_picture(
        boxes((-5, -5, 10, 10), (50, 50, 60, 60)), Tile(0, 0, 40, 40), width=40, height=40, overlap_px=8
    )
    np.testing.assert_array_equal(moved.xyxy, [[0, 0, 10, 10]])
    assert not cut.any()


def test_duplicates_keep_the_best_score() -> None:
    merged = merge(boxes((0, 0, 10, 10), (1, 0, 11, 10), scores=[0.6, 0.8]), iou_max=0.5)
    np.testing.assert_array_equal(merged.xyxy, [[1, 0, 11, 10]])


def test_labels_do_not_suppress_each_other() -> None:
    both = tiling.join([boxes((0, 0, 10, 10)), boxes((0, 0, 10, 10), label=1)])
    assert len(merge(both)) == 2


def test_a_small_whole_box_inside_a_large_one_stays() -> None:
    assert len(merge(boxes((0, 0, 100, 100), (10, 10, 20, 20)))) == 2


def test_a_cut_box_gives_way_to_the_whole_one_even_with_a_better_score() -> None:
    merged = merge(boxes((0, 0, 6, 10), (0, 0, 10, 10), scores=[0.9, 0.5]), [True, False], iou_max=0.7)
    np.testing.assert_array_equal(merged.xyxy, [[0, 0, 10, 10]])


LEFT, RIGHT, WHOLE = Tile(0, 0, 640, 640), Tile(544, 0, 640, 640), Tile(0, 0, 1184, 640, shrink=1.85)


def test_final_boxes_of_one_tile_stay_however_much_they_overlap_but_not_those_of_two() -> None:
    """Two objects one before the other, seen by both tiles."""
    near, far = (560, 100, 620, 160), (565, 100, 625, 160)
    found = boxes(near, far, near, far, scores=[0.9, 0.8, 0.7, 0.6])
    windows = [LEFT, LEFT, RIGHT, RIGHT]
    np.testing.assert_array_equal(merge(found, windows=windows, is_each_final=True).xyxy, [near, far])
    np.testing.assert_array_equal(merge(found, windows=windows).xyxy, [near])


def test_a_small_whole_object_inside_a_large_cut_one_takes_nothing_away() -> None:
    found = boxes((600, 100, 620, 120), (300, 50, 640, 300), (544, 50, 900, 300))
    merged = merge(found, [False, True, True], [LEFT, LEFT, RIGHT])
    assert {tuple(box) for box in merged.xyxy.tolist()} == {(600, 100, 620, 120), (300, 50, 900, 300)}


def test_pieces_of_two_objects_in_one_place_of_the_border_stay_two() -> None:
    found = boxes((300, 50, 640, 100), (544, 50, 900, 100), (300, 90, 640, 140), (544, 90, 900, 140))
    merged = merge(found, [True] * 4, [LEFT, RIGHT, LEFT, RIGHT])
    assert {tuple(box) for box in merged.xyxy.tolist()} == {(300, 50, 900, 100), (300, 90, 900, 140)}


def test_pieces_that_nothing_sees_between_are_no_object() -> None:
    apart = Tile(1088, 0, 640, 640)
    assert len(merge(boxes((300, 50, 640, 100), (1088, 50, 1300, 100)), [True, True], [LEFT, apart])) == 2


def test_a_view_of_the_whole_picture_gives_way_to_a_tile_that_sees_the_object_whole() -> None:
    """98 x 36 px in the tile; six times smaller, its height came out as half of that."""
    found = boxes((613, 847, 716, 864), (611, 838, 708, 874), scores=[0.9, 0.5])
    merged = merge(found, windows=[WHOLE, RIGHT])
    np.testing.assert_array_equal(merged.xyxy, [[611, 838, 708, 874]])


def test_an_object_inside_one_that_only_the_whole_picture_shows_stays() -> None:
    assert len(merge(boxes((20, 20, 1100, 600), (600, 300, 700, 400)), windows=[WHOLE, RIGHT])) == 2


def test_nothing_found_is_an_empty_list() -> None:
    assert len(merge(tiling.join([]))) == 0


@given(st.integers(0, 2**32 - 1))
def test_suppression_agrees_with_a_plain_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (30, 2))
    xyxy = np.concatenate([corner, corner + rng.integers(4, 30, (30, 2))], axis=1).astype(np.float32)
    many = Boxes(xyxy, (rng.permutation(30) / 30).astype(np.float32), rng.integers(0, 3, 30))
    merged, suppressed = merge(many, iou_max=0.4), tiling.suppress(many, iou_max=0.4)
    kept: list[int] = []
    for index in np.argsort(-many.scores):
        if all(many.labels[k] != many.labels[index] or iou(xyxy[k], xyxy[index]) <= 0.4 for k in kept):
            kept.append(int(index))
    np.testing.assert_array_equal(merged.xyxy, xyxy[kept])
    np.testing.assert_array_equal(suppressed.xyxy, xyxy[kept])


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0])))
    height = max(0.0, float(min(a[3], b[3]) - max(a[1], b[1])))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def test_tiles_moved_together_give_what_each_gives_alone() -> None:
    """The whole-picture pass and tiles without a box among them."""
    random = np.random.default_rng(3)
    tiles = tiling.plan(1500, 900, tile_px=640, overlap_px=96)
    parts = []
    for count in (5, 0, 40, 1, 0, 12, 30)[: len(tiles)]:
        corners = random.uniform(-20, 620, (count, 2))
        xyxy = np.concatenate([corners, corners + random.uniform(0, 200, (count, 2))], axis=1, dtype=np.float32)
        parts.append(Boxes(xyxy, random.uniform(0, 1, count).astype(np.float32), random.integers(0, 3, count)))
    settings = {"width": 1500, "height": 900, "overlap_px": 96}
    assert len(parts) == len(tiles) == 7
    for (moved, cut), part, tile in zip(tiling.each_to_picture(parts, tiles, **settings), parts, tiles, strict=True):
        alone, alone_cut = to_picture(part, tile, **settings)
        assert np.array_equal(moved.xyxy, alone.xyxy)
        assert np.array_equal(moved.scores, alone.scores)
        assert np.array_equal(moved.labels, alone.labels)
        assert np.array_equal(cut, alone_cut)
