"""The detector: its shapes, its loss, its crops, its export. Skipped where torch is not installed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from training.boards import LABELS, make_board  # noqa: E402
from training.detector import data, export, metric, reference, train  # noqa: E402
from training.detector.loss import Targets, complete_iou, detection_loss, plain_iou  # noqa: E402
from training.detector.network import STRIDES, VARIANTS, Detector, count_flops, decode  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(0)
    detector = Detector("n")
    detector.eval()
    return detector


def _sample(seed: int = 5) -> data.Sample:
    board = make_board(seed, data.BOARD_WIDTH, data.BOARD_HEIGHT, look="thresholded", defect_count=60)
    return data.Sample(board.pixels, board.boxes, board.labels)


def _targets(boxes: list[list[float]], labels: list[int]) -> Targets:
    image = torch.zeros(len(labels), dtype=torch.long)
    return Targets(image, torch.tensor(labels, dtype=torch.long), torch.tensor(boxes).reshape(-1, 4))


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 64, 96), (3, 160, 128)])
def test_output_is_one_column_a_cell(model: Detector, batch: int, height: int, width: int) -> None:
    images = torch.randint(0, 256, (batch, 1, height, width), dtype=torch.uint8)
    with torch.no_grad():
        output = model(images)
    cells = sum(height * width // stride**2 for stride in STRIDES)
    assert output.shape == (batch, 4 + len(LABELS), cells)
    assert output.dtype == torch.float32
    assert bool(((output[:, 4:] >= 0) & (output[:, 4:] <= 1)).all())
    assert bool((output[:, 2:4] > 0).all())


def test_a_cell_that_says_nothing_points_at_its_own_middle() -> None:
    raw = [torch.zeros(1, 10, 64 // stride, 64 // stride) for stride in STRIDES]
    boxes, _ = decode(raw)
    assert boxes[0, :, 0].tolist() == [4.0, 4.0, 8.0, 8.0]
    assert boxes[0, :, 9].tolist() == [12.0, 12.0, 8.0, 8.0]
    assert boxes[0, :, -1].tolist() == [48.0, 48.0, 32.0, 32.0]


def test_each_variant_is_about_four_times_the_one_before() -> None:
    costs = [count_flops(Detector(variant).eval(), side=64) for variant in VARIANTS]
    assert costs[0] * 100 == pytest.approx(2.17e9, rel=0.05)
    assert all(3 < larger / smaller < 5 for smaller, larger in itertools.pairwise(costs))


def test_overlaps_are_right() -> None:
    first = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    second = torch.tensor([[5.0, 0.0, 15.0, 10.0]])
    assert float(plain_iou(first, second)) == pytest.approx(1 / 3, abs=1e-6)
    assert float(complete_iou(first, first)) == pytest.approx(1.0, abs=1e-5)
    assert float(complete_iou(first, second)) == pytest.approx(1 / 3 - 25 / 325, abs=1e-5)


def test_loss_takes_pictures_without_defects() -> None:
    raw = [torch.zeros(1, 10, 64 // stride, 64 // stride, requires_grad=True) for stride in STRIDES]
    loss, parts = detection_loss(raw, _targets([], []))
    loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
    assert parts["box"] == 0.0
    assert parts["score"] > 0.0


def test_two_defects_in_one_cell_do_not_share_it() -> None:
    raw = [torch.zeros(1, 10, 64 // stride, 64 // stride) for stride in STRIDES]
    loss, _ = detection_loss(raw, _targets([[0.0, 0.0, 12.0, 12.0], [2.0, 2.0, 14.0, 14.0]], [0, 3]))
    assert bool(torch.isfinite(loss))


def test_a_few_steps_learn_one_crop() -> None:
    torch.manual_seed(1)
    learner = Detector("n")
    crop = data.draw_crop(np.random.default_rng(3), _sample())
    images, targets = data.collate([crop, crop])
    optimiser = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss, _ = detection_loss(learner.raw(images), targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < 0.6 * losses[0]


def test_crops_keep_boxes_on_their_defects() -> None:
    sample = _sample()
    marked = np.zeros_like(sample.pixels)
    for left, top, right, bottom in sample.boxes.round().astype(int):
        marked[top:bottom, left:right] = 255
    rng = np.random.default_rng(11)
    for _ in range(12):
        crop = data.draw_crop(rng, data.Sample(marked, sample.boxes, sample.labels))
        assert crop.pixels.shape == (data.CROP, data.CROP)
        assert crop.boxes.min(initial=0) >= 0
        assert crop.boxes.max(initial=0) <= data.CROP
        # Light changes levels but not their order: what was marked is brighter than all else.
        middle = (int(crop.pixels.min()) + int(crop.pixels.max())) / 2
        for left, top, right, bottom in crop.boxes.round().astype(int):
            assert (crop.pixels[top:bottom, left:right] > middle).mean() > 0.5


def test_pool_refuses_evaluation_boards(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a training seed"):
        data.load_pool(tmp_path, 1, first_seed=9_000_000)


def test_average_precision_of_known_answers() -> None:
    truth = metric.Truth(np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32), np.array([0, 0]))
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 30, 30]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    found = reference.Detections(boxes, scores, np.zeros(3, np.int64))
    mean, values = metric.mean_average_precision([found], [truth], labels=2)
    assert mean == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert np.isnan(values[1])


def _tiny_training(folder: Path, *more: str) -> train._Training:
    options = ["--out", str(folder), "--batch", "1", *more]
    return train._Training(train._parser().parse_args(options))


def test_a_training_is_taken_up_where_it_was_left(tmp_path: Path) -> None:
    first = _tiny_training(tmp_path)
    images, targets = data.collate([data.draw_crop(np.random.default_rng(0), _sample())])
    first.step(images, targets, 0.0)
    first.save()
    second = _tiny_training(tmp_path, "--seed", "9")
    second.resume()
    assert second.progress.step == 1
    for mine, theirs in zip(second.model.state_dict().values(), first.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_export_answers_as_torch_does(tmp_path: Path) -> None:
    training = _tiny_training(tmp_path)
    training.save()
    folder = tmp_path / "model"
    export.main(["--checkpoint", str(tmp_path / train.CHECKPOINT), "--out", str(folder)])
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.toml", "golden.jpg", "golden.json"}
    text = (folder / "model.toml").read_text()
    assert 'name = "board-defects-n"' in text
    assert (folder / "model.onnx").stat().st_size < 4_000_000


def test_reference_pads_and_scales_back(tmp_path: Path) -> None:
    training = _tiny_training(tmp_path)
    training.save()
    image = make_board(3, 200, 150).pixels
    for scale in (1.0, 0.5):
        found = reference.detect(tmp_path / train.CHECKPOINT, image, scale=scale, score_min=0.0)
        assert len(found.boxes) > 0
        assert (np.diff(found.scores) <= 0).all()
        assert found.boxes[:, [0, 2]].max() <= 200
        assert found.boxes[:, [1, 3]].max() <= 150
