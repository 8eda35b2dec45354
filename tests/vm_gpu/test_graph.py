"""The rewritten graph answers as the model's own file does, shows its own tensors only, and lacks shape arithmetic."""

from collections import Counter
from dataclasses import replace
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
from tests.models import TILE_PX
from tests.vm_gpu.runs import squares_manifest

BOARDS = PROJECT / "shared" / "models" / "board-defects-n"


def parts(manifest: Manifest) -> tuple[ImageInput, DetectionOutput]:
    assert isinstance(manifest.input, ImageInput)
    assert isinstance(manifest.output, DetectionOutput)
    return manifest.input, manifest.output


def boxes_of(manifest: Manifest, model: bytes, tiles: NDArray[Any], *, lean: bool) -> list[Any]:
    image, output = parts(manifest)
    session = Session(model, threads=1, hidden=(OUTPUT,))
    layout = replace(output, name=OUTPUT, layout="candidates") if lean else output
    return candidates(session.run({image.name: tiles}, [layout.name])[0], layout, image)


@pytest.mark.parametrize("count", [1, 3])
def test_the_candidates_lead_to_the_same_boxes_as_all_cells(count: int) -> None:
    manifest = read_manifest(BOARDS)
    picture = np.asarray(Image.open(BOARDS / "golden.jpg").convert("L"))
    tiles = np.stack([np.roll(picture, 64 * n, axis=1) for n in range(count)])[:, None]
    lean = lean_graph(manifest.model_bytes, *parts(manifest))
    all_cells = boxes_of(manifest, manifest.model_bytes, tiles, lean=False)
    best_cells = boxes_of(manifest, lean, tiles, lean=True)
    for wanted, found in zip(all_cells, best_cells, strict=True):
        assert len(wanted) > 3
        np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=0.01)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
        assert np.array_equal(found.labels, wanted.labels)


def test_only_arithmetic_on_the_number_of_tiles_is_left() -> None:
    manifest = read_manifest(BOARDS)
    models = (manifest.model_bytes, lean_graph(manifest.model_bytes, *parts(manifest)))
    before, after = (Counter(node.op_type for node in onnx.load_from_string(model).graph.node) for model in models)
    assert before["Range"] > 0
    assert after["Range"] == 0
    assert not after.keys() & {"NonMaxSuppression", "NonZero", "If", "Loop"}


def test_the_added_output_has_one_fixed_shape_a_tile_and_does_not_show() -> None:
    manifest = read_manifest(BOARDS)
    session = Session(lean_graph(manifest.model_bytes, *parts(manifest)), threads=1, hidden=(OUTPUT,))
    own = Session(manifest.model_bytes, threads=1)
    assert session.hidden[0].shape[1:] == (CANDIDATES, 6)
    assert [spec.name for spec in session.outputs] == [spec.name for spec in own.outputs]
    tiles = np.zeros((2, 1, 640, 640), np.uint8)
    (shown,) = session.run({"images": tiles})
    np.testing.assert_allclose(shown, own.run({"images": tiles})[0], atol=1e-3)


def test_a_graph_with_fewer_cells_gives_all_of_them(tmp_path: Path) -> None:
    manifest = squares_manifest(tmp_path)
    session = Session(lean_graph(manifest.model_bytes, *parts(manifest)), threads=1, hidden=(OUTPUT,))
    (rows,) = session.run({"images": np.full((2, 1, TILE_PX, TILE_PX), 255, np.uint8)}, [OUTPUT])
    assert rows.shape == (2, 16, 6)
    assert sorted(map(tuple, rows[1, :, :2].tolist())) == [(x, y) for x in range(0, 64, 16) for y in range(0, 64, 16)]
    assert np.all(rows[..., 4] == 1)


def test_a_shape_that_depends_on_values_is_left_alone(tmp_path: Path) -> None:
    """Two runs on black tiles agree on how many pixels are bright; that makes the number no constant."""
    manifest = squares_manifest(tmp_path)
    model = onnx.load_from_string(manifest.model_bytes)
    graph = model.graph
    # The first score of every tile becomes the number of bright pixels.
    graph.node[-1].output[0] = "plain"
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    graph.node.extend(
        [
            helper.make_node("NonZero", ["images"], ["bright"]),
            helper.make_node("Shape", ["bright"], ["bright_shape"]),
            helper.make_node("Gather", ["bright_shape", "one"], ["bright_count"]),
            helper.make_node("Cast", ["bright_count"], ["bright_float"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["plain", "bright_float"], ["output0"]),
        ]
    )
    session = Session(lean_graph(model.SerializeToString(), *parts(manifest)), threads=1, hidden=(OUTPUT,))
    tiles = np.zeros((1, 1, TILE_PX, TILE_PX), np.uint8)
    tiles[0, 0, 0, :3] = 255
    assert session.run({"images": tiles}, [OUTPUT])[0][0, -1, 4] == 3
