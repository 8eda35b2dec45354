"""What is written as `model.toml` reads back as it was."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st
from inference_core.manifest import DataFile, DetectionOutput, ImageInput, TabularInput, TabularInputs
from intake.model_text import toml_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(labels=st.lists(TEXTS, min_size=1, max_size=40), name=TEXTS, score=st.floats(0, 1), whole=st.integers(1, 9999))
def test_any_text_and_number_comes_back(labels: list[str], name: str, score: float, whole: int) -> None:
    output = DetectionOutput(name, "yolox", tuple(labels), score_min=score)
    table = {
        "name": name,
        "data": [DataFile(label, label) for label in labels],
        "input": ImageInput(name, "nchw", "float32", "rgb", tile_px=whole, scale=1 / 255),
        "output": output,
    }
    read = tomllib.loads(toml_of(table))
    assert read["name"] == name
    assert read["data"] == [{"file": label, "sha256": label} for label in labels]
    assert read["input"] == {
        "name": name,
        "layout": "nchw",
        "dtype": "float32",
        "colour": "rgb",
        "tile_px": whole,
        "scale": 1 / 255,
    }
    assert read["output"]["labels"] == labels
    assert read["output"].get("score_min", 0.25) == score
    assert "iou_max" not in read["output"]


def test_tensors_of_a_table_are_a_list_of_tables() -> None:
    table = TabularInputs((TabularInput("a", ("b", "c"), missing=True), TabularInput("d", ("e",), "int64")))
    assert tomllib.loads(toml_of({"input": table}))["input"] == {
        "tensors": [
            {"name": "a", "columns": ["b", "c"], "missing": True},
            {"name": "d", "columns": ["e"], "dtype": "int64"},
        ]
    }
