"""The board generator: the same bytes, exact boxes, all defects, any size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training.boards import LABELS, LOOKS, Look, make_board
from training.boards.__main__ import main
from training.boards.board import Sheet, defect_box, make_sheet
from training.boards.camera import sheet_margin
from training.boards.defects import MIN_AREA, RIM

SEED = 7


def _sheet(look: Look, zoom: float = 1.0, width: int = 1280, height: int = 720) -> Sheet:
    rng = np.random.default_rng(SEED)
    return make_sheet(rng, width, height, zoom=zoom, look=look, defect_count=24)


@pytest.mark.parametrize("look", LOOKS)
def test_same_seed_gives_the_same_bytes(look: Look) -> None:
    first = make_board(SEED, 640, 480, look=look)
    second = make_board(SEED, 640, 480, look=look)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.boxes.tobytes() == second.boxes.tobytes()
    assert first.labels.tobytes() == second.labels.tobytes()


def test_other_seed_gives_another_board() -> None:
    first, second = (make_board(seed, 640, 480, look="lit") for seed in (1, 2))
    assert (first.pixels != second.pixels).mean() > 0.5


@pytest.mark.parametrize("look", LOOKS)
def test_arrays_have_the_promised_shapes_and_types(look: Look) -> None:
    board = make_board(SEED, 960, 544, look=look, defect_count=12)
    assert board.pixels.shape == (544, 960)
    assert board.pixels.dtype == np.uint8
    assert board.boxes.shape == (len(board.labels), 4)
    assert board.boxes.dtype == np.float32
    assert board.labels.dtype == np.int64
    assert board.look == look
    assert (board.boxes[:, 2:] > board.boxes[:, :2]).all()
    assert (board.boxes >= 0).all()
    assert (board.boxes <= np.array([960, 544] * 2)).all()


def test_the_seed_decides_the_look() -> None:
    assert {make_board(seed, 320, 256).look for seed in range(12)} == set(LOOKS)


def test_all_six_defects_appear() -> None:
    board = make_board(SEED, 1920, 1080, look="thresholded", defect_count=30)
    assert set(board.labels.tolist()) == set(range(len(LABELS)))
    assert len(board.labels) >= 28


def test_changed_pixels_are_exactly_those_of_the_defects() -> None:
    sheet = _sheet("thresholded")
    marked = np.zeros_like(sheet.good)
    for defect in sheet.defects:
        marked[defect.pixels[:, 1], defect.pixels[:, 0]] = True
    np.testing.assert_array_equal(marked, sheet.good != sheet.copper)


def test_unturned_boxes_are_the_bounds_of_the_change_and_the_rim() -> None:
    sheet = _sheet("thresholded")
    margin = sheet_margin(1280, 720)
    changed = sheet.good != sheet.copper
    for defect in sheet.defects:
        left, top, right, bottom = (round(edge) for edge in np.array(defect_box(defect, sheet.view, 1.0)) + margin)
        inner = changed[top + 4 : bottom - 4, left + 4 : right - 4]
        assert inner.any(axis=0)[[0, -1]].all()
        assert inner.any(axis=1)[[0, -1]].all()
        assert changed[top:bottom, left:right].sum() == inner.sum() == len(defect.pixels)


def test_turned_boxes_hold_the_change_as_the_picture_shows_it() -> None:
    sheet = _sheet("lit")
    assert sheet.view.turn != 0.0
    for defect in sheet.defects:
        alone = np.zeros(sheet.good.shape, dtype=np.uint8)
        alone[defect.pixels[:, 1], defect.pixels[:, 0]] = 255
        shown = np.asarray(sheet.view.resample(Image.fromarray(alone))) > 100
        ys, xs = np.nonzero(shown)
        seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        box = np.array(defect_box(defect, sheet.view, 1.0)) + np.array([RIM, RIM, -RIM, -RIM])
        assert np.abs(seen - box).max() <= 2.0


@pytest.mark.parametrize("look", LOOKS)
def test_boxes_do_not_overlap(look: Look) -> None:
    boxes = make_board(SEED, 1280, 720, look=look, defect_count=60).boxes
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = (high - low).clip(min=0).prod(axis=2)
    np.fill_diagonal(common, 0.0)
    assert common.max() == 0.0


def test_no_defect_is_too_small_to_see() -> None:
    assert all(len(defect.pixels) >= MIN_AREA for defect in _sheet("lit").defects)


def test_each_defect_adds_or_removes_copper_as_its_name_says() -> None:
    adds = {"short", "spur", "spurious_copper"}
    sheet = _sheet("thresholded")
    for defect in sheet.defects:
        after = sheet.copper[defect.pixels[:, 1], defect.pixels[:, 0]]
        assert (after == (LABELS[defect.label] in adds)).all()


def test_thresholded_is_black_and_white_and_lit_is_grey() -> None:
    assert set(np.unique(make_board(SEED, 480, 320, look="thresholded").pixels)) == {0, 255}
    assert np.unique(make_board(SEED, 480, 320, look="lit").pixels).size > 60


def test_zoom_scales_the_sizes_of_defects() -> None:
    sides = []
    for zoom in (0.5, 1.0):
        width, height = round(1920 * zoom), round(1080 * zoom)
        boxes = make_board(SEED, width, height, zoom=zoom, look="thresholded", defect_count=40).boxes
        sides.append(float(np.median(boxes[:, 2:] - boxes[:, :2])))
    assert 0.4 < sides[0] / sides[1] < 0.65


def test_defects_by_default_go_with_the_area() -> None:
    board = make_board(SEED, 1920, 1080, look="thresholded")
    assert 4 <= len(board.labels) <= 6


@pytest.mark.slow
def test_8k_is_drawn_in_full() -> None:
    board = make_board(SEED, 7680, 4320, zoom=4.0, look="thresholded", defect_count=6)
    assert board.pixels.shape == (4320, 7680)
    assert len(board.labels) == 6
    assert 0.05 < (board.pixels > 0).mean() < 0.6


def test_command_writes_pictures_and_coco(tmp_path: Path) -> None:
    main(f"--count 2 --seed 3 --width 640 --height 480 --defects 5 --out {tmp_path}".split())
    coco = json.loads((tmp_path / "annotations.json").read_text())
    assert [category["name"] for category in coco["categories"]] == list(LABELS)
    assert len(coco["images"]) == 2
    for entry in coco["images"]:
        with Image.open(tmp_path / entry["file_name"]) as picture:
            assert picture.mode == "L"
            assert picture.size == (640, 480)
    board = make_board(3, 640, 480, defect_count=5)
    mine = [row for row in coco["annotations"] if row["image_id"] == 1]
    assert [row["category_id"] - 1 for row in mine] == board.labels.tolist()
    found = np.array([row["bbox"] for row in mine])
    np.testing.assert_allclose(found[:, :2], board.boxes[:, :2], atol=0.01)
    np.testing.assert_allclose(found[:, :2] + found[:, 2:], board.boxes[:, 2:], atol=0.02)
