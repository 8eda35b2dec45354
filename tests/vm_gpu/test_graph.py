"""The rewritten graph answers as the model's own file does, shows its own tensors only, and lacks shape arithmetic."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gpu_api.graph import CANDIDATES, OUTPUT, lean_graph
from inference_core.heads import candidates
from inference_core.manifest import DetectionOutput, ImageInput, Manifest, read_manifest
from inference_core.session import Session
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.conftest import PROJECT
from tests.detectors import SIDE_PX, Network, yolov8
from tests.models import TILE_PX
from tests.vm_gpu.runs import squares_manifest

BOARDS = PROJECT / "shared" / "models" / "board-defects-n"
WHOLE = {TensorProto.INT64, TensorProto.INT32}
COUNTS = (1, 2, 3, 5)


def parts(manifest: Manifest) -> tuple[ImageInput, DetectionOutput]:
    assert isinstance(manifest.input, ImageInput)
    assert isinstance(manifest.output, DetectionOutput)
    return manifest.input, manifest.output


def boxes_of(manifest: Manifest, model: bytes, tiles: NDArray[Any], *, is_lean: bool) -> list[Any]:
    image, output = parts(manifest)
    session = Session(model, threads=1, hidden=(OUTPUT,))
    layout = replace(output, name=OUTPUT, layout="candidates") if is_lean else output
    return candidates(session.run({image.name: tiles}, [layout.name])[0], layout, image)


@cache
def board(variant: str) -> Manifest:
    return read_manifest(BOARDS.with_name(f"board-defects-{variant}"))


@cache
def lean(manifest: Manifest) -> bytes:
    return lean_graph(manifest.model_bytes, *parts(manifest))


def operators(model: bytes) -> "Counter[str]":
    return Counter(node.op_type for node in onnx.load_from_string(model).graph.node)


def assert_same(model: bytes, rewritten: bytes, tiles: NDArray[Any], *, atol: float) -> None:
    """The first 1, 2, 3 and 5 of `tiles` have the same answers from both, in every output of the model's own."""
    own, other = Session(model, threads=2), Session(rewritten, threads=2, hidden=(OUTPUT,))
    for count in COUNTS:
        feeds = {own.inputs[0].name: tiles[:count]}
        for wanted, found in zip(own.run(feeds), other.run(feeds), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("count", [1, 3])
def test_the_candidates_lead_to_the_same_boxes_as_all_cells(count: int) -> None:
    manifest = read_manifest(BOARDS)
    picture = np.asarray(Image.open(BOARDS / "golden.jpg").convert("L"))
    tiles = np.stack([np.roll(picture, 64 * n, axis=1) for n in range(count)])[:, None]
    all_cells = boxes_of(manifest, manifest.model_bytes, tiles, is_lean=False)
    best_cells = boxes_of(manifest, lean(manifest), tiles, is_lean=True)
    for wanted, found in zip(all_cells, best_cells, strict=True):
        assert len(wanted) > 3
        np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=0.01)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
        assert np.array_equal(found.labels, wanted.labels)


@pytest.mark.parametrize("variant", ["n", "s"])
def test_no_node_works_on_shapes(variant: str) -> None:
    """Every whole number left is a label or a place among the cells, computed where the cells are."""
    manifest = board(variant)
    before, after = (operators(model) for model in (manifest.model_bytes, lean(manifest)))
    assert before["Shape"] > 0
    assert before["Range"] > 0
    assert not after.keys() & {"Shape", "Size", "Range", "NonMaxSuppression", "NonZero", "If", "Loop"}
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(lean(manifest))).graph
    whole = {value.name for value in graph.value_info if value.type.tensor_type.elem_type in WHOLE}
    assert whole, "labels and places at least"
    made_by = {node.op_type for node in graph.node if whole & set(node.output)}
    assert made_by <= {"ArgMax", "TopK", "GatherElements", "Concat", "Constant"}


@pytest.mark.parametrize("variant", ["n", "s"])
def test_the_rewritten_graph_answers_as_the_model_does_for_any_number_of_tiles(variant: str) -> None:
    manifest = board(variant)
    picture = np.asarray(Image.open(manifest.folder / "golden.jpg").convert("L"))
    noise = np.random.default_rng(1).integers(0, 256, (5, 1, 640, 640), np.uint8)
    tiles = np.where(noise < 40, noise, np.stack([np.roll(picture, 64 * n, axis=1) for n in range(5)])[:, None])
    assert_same(manifest.model_bytes, lean(manifest), tiles, atol=1e-3)


def test_the_added_output_has_one_fixed_shape_a_tile_and_does_not_show() -> None:
    manifest = read_manifest(BOARDS)
    session = Session(lean(manifest), threads=1, hidden=(OUTPUT,))
    own = Session(manifest.model_bytes, threads=1)
    assert session.hidden[0].shape[1:] == (CANDIDATES, 6)
    assert [spec.name for spec in session.outputs] == [spec.name for spec in own.outputs]
    tiles = np.zeros((2, 1, 640, 640), np.uint8)
    (shown,) = session.run({"images": tiles})
    np.testing.assert_allclose(shown, own.run({"images": tiles})[0], atol=1e-3)


def test_a_graph_with_fewer_cells_gives_all_of_them(tmp_path: Path) -> None:
    manifest = squares_manifest(tmp_path)
    session = Session(lean(manifest), threads=1, hidden=(OUTPUT,))
    (rows,) = session.run({"images": np.full((2, 1, TILE_PX, TILE_PX), 255, np.uint8)}, [OUTPUT])
    assert rows.shape == (2, 16, 6)
    assert sorted(map(tuple, rows[1, :, :2].tolist())) == [(x, y) for x in range(0, 64, 16) for y in range(0, 64, 16)]
    assert np.all(rows[..., 4] == 1)


def test_a_shape_that_depends_on_values_is_left_alone(tmp_path: Path) -> None:
    """Two runs on black tiles agree on how many pixels are bright; that makes the number no constant."""
    manifest = squares_manifest(tmp_path)
    model = extended(
        manifest,
        # The first score of every tile becomes the number of bright pixels.
        helper.make_node("NonZero", ["images"], ["bright"]),
        helper.make_node("Shape", ["bright"], ["bright_shape"]),
        helper.make_node("Gather", ["bright_shape", "one"], ["bright_count"]),
        helper.make_node("Cast", ["bright_count"], ["bright_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["plain", "bright_float"], ["output0"]),
        one=[1],
    )
    session = Session(lean_graph(model, *parts(manifest)), threads=1, hidden=(OUTPUT,))
    tiles = np.zeros((1, 1, TILE_PX, TILE_PX), np.uint8)
    tiles[0, 0, 0, :3] = 255
    assert session.run({"images": tiles}, [OUTPUT])[0][0, -1, 4] == 3


def extended(manifest: Manifest, *nodes: onnx.NodeProto, **constants: list[int]) -> bytes:
    """The tiny detector's graph with `nodes` after it, which make `output0` of `plain`, float32 [N, 5, 16]; `count`
    is [N].
    """
    model = onnx.load_from_string(manifest.model_bytes)
    model.graph.node[-1].output[0] = "plain"
    model.graph.node.extend(nodes)
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return model.SerializeToString()  # type: ignore[no-any-return]


def squares_noise(count: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (count, 1, TILE_PX, TILE_PX), np.uint8)


def test_a_reshape_that_puts_the_tiles_into_another_axis_is_right_for_any_number(tmp_path: Path) -> None:
    """[N, 5, 16] by way of [4, N * 5, 4]: the entry that depends on N is not the first."""
    manifest = squares_manifest(tmp_path)
    model = extended(
        manifest,
        helper.make_node("Mul", ["count", "five"], ["rows"]),
        helper.make_node("Concat", ["four", "rows", "four"], ["mixed_shape"], axis=0),
        helper.make_node("Reshape", ["plain", "mixed_shape"], ["mixed"]),
        helper.make_node("Concat", ["count", "five", "cells"], ["own_shape"], axis=0),
        helper.make_node("Reshape", ["mixed", "own_shape"], ["output0"]),
        four=[4],
        five=[5],
        cells=[16],
    )
    rewritten = lean_graph(model, *parts(manifest))
    targets = [numpy_helper.to_array(t).tolist() for t in onnx.load_from_string(rewritten).graph.initializer]
    assert [4, -1, 4] in targets
    assert [-1, 5, 16] in targets
    assert operators(model)["Mul"] - operators(rewritten)["Mul"] == 0  # N * 5 is gone, the candidates' half is new
    assert_same(model, rewritten, squares_noise(), atol=0)


def test_a_reshape_with_the_tiles_in_two_axes_is_left_alone(tmp_path: Path) -> None:
    """[N, 5, 16] by way of [N, N * 5, 16]."""
    manifest = squares_manifest(tmp_path)
    model = extended(
        manifest,
        helper.make_node("Unsqueeze", ["plain", "one"], ["apart"]),
        helper.make_node("Concat", ["count", "count", "five", "cells"], ["square_shape"], axis=0),
        helper.make_node("Expand", ["apart", "square_shape"], ["square"]),
        helper.make_node("Mul", ["count", "five"], ["rows"]),
        helper.make_node("Concat", ["count", "rows", "cells"], ["long_shape"], axis=0),
        helper.make_node("Reshape", ["square", "long_shape"], ["long"]),
        helper.make_node("Slice", ["long", "none", "five", "one"], ["output0"]),
        none=[0],
        one=[1],
        five=[5],
        cells=[16],
    )
    rewritten = lean_graph(model, *parts(manifest))
    (kept,) = (n for n in onnx.load_from_string(rewritten).graph.node if list(n.output) == ["long"])
    assert list(kept.input) == ["square", "long_shape"]
    assert_same(model, rewritten, squares_noise(), atol=0)


def test_a_graph_that_does_not_answer_tile_by_tile_is_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Scores divided by the number of tiles: the trial with fewer cannot tell that from a rewriting gone wrong."""
    manifest = squares_manifest(tmp_path)
    model = extended(
        manifest,
        helper.make_node("Cast", ["count"], ["count_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["plain", "count_float"], ["output0"]),
    )
    rewritten = lean_graph(model, *parts(manifest))
    assert "arithmetic on shapes is left in the graph" in caplog.text
    assert "output0 is not the same for 1 tiles" in caplog.text
    assert operators(rewritten) >= operators(model)
    assert_same(model, rewritten, squares_noise(), atol=0)


def test_nodes_that_stand_before_what_they_read_are_left_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ONNX forbids it, ONNX Runtime opens it."""
    manifest = squares_manifest(tmp_path)
    model = onnx.load_from_string(manifest.model_bytes)
    first = model.graph.node.pop(0)
    model.graph.node.append(first)
    rewritten = lean_graph(model.SerializeToString(), *parts(manifest))
    assert "is read before the node that makes it" in caplog.text
    assert_same(model.SerializeToString(), rewritten, squares_noise(), atol=0)


@pytest.mark.parametrize(("operator", "operand"), [("Max", 3), ("Min", 1), ("Div", 8)])
def test_a_step_of_the_number_of_tiles_is_not_taken_for_a_constant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, operator: str, operand: int
) -> None:
    """It is the same for 1, 2 and 3 tiles, and another for more."""
    manifest = squares_manifest(tmp_path)
    model = extended(
        manifest,
        helper.make_node(operator, ["count", "operand"], ["step"]),
        helper.make_node("Cast", ["step"], ["step_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["plain", "step_float"], ["output0"]),
        operand=[operand],
    )
    rewritten = lean_graph(model, *parts(manifest))
    assert f"{operator} of the number of tiles" in caplog.text
    for count in (1, 3, 9):
        sessions = Session(model, threads=1), Session(rewritten, threads=1, hidden=(OUTPUT,))
        wanted, found = (session.run({"images": squares_noise(count)})[0] for session in sessions)
        np.testing.assert_array_equal(found, wanted)


def test_a_graph_for_one_number_of_tiles_is_tried_with_that_number(tmp_path: Path) -> None:
    manifest = squares_manifest(tmp_path)
    model = onnx.load_from_string(manifest.model_bytes)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    rewritten = lean_graph(model.SerializeToString(), *parts(manifest))
    assert not operators(rewritten).keys() & {"Shape", "Expand"}
    sessions = Session(model.SerializeToString(), threads=1), Session(rewritten, threads=1, hidden=(OUTPUT,))
    wanted, found = (session.run({"images": squares_noise(4)})[0] for session in sessions)
    np.testing.assert_array_equal(found, wanted)


class FreeBatch(Network):
    """As Ultralytics exports with `dynamic=True`: Reshape's targets are computed from the shape of the data."""

    def flat(self, given: str, channels: int) -> str:
        count = self.node("Gather", self.node("Shape", given), self.constant(0, np.int64), axis=0)
        first = self.node("Unsqueeze", count, self.constant([0], np.int64))
        target = self.node("Concat", first, self.constant([channels, -1], np.int64), axis=0)
        name: str = self.node("Reshape", given, target)
        return name


def test_an_export_with_a_free_batch_loses_its_shapes(tmp_path: Path) -> None:
    model = yolov8(tmp_path / "model.onnx", FreeBatch()).read_bytes()
    image, output = parts(squares_manifest(tmp_path))
    image = replace(image, tile_px=SIDE_PX, colour="rgb", dtype="float32", scale=1 / 255)
    rewritten = lean_graph(model, image, output)
    assert operators(model)["Shape"] == 3
    assert operators(rewritten)["Shape"] == 0
    tiles = np.random.default_rng(3).random((5, 3, SIDE_PX, SIDE_PX), np.float32)
    assert_same(model, rewritten, tiles, atol=1e-4)
