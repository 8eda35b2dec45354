"""A model folder is complete, consistent and unaltered, or it is refused with the file and key at fault."""

import hashlib
from pathlib import Path

import pytest
from inference_core.errors import ManifestError
from inference_core.manifest import ImageInput, TabularInput, TabularInputs, read_manifest

from tests.models import COLUMNS, detection_model, tabular_model


def edited(folder: Path, old: str, new: str) -> Path:
    path = folder / "model.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return folder


def test_a_tabular_manifest_names_its_columns(tmp_path: Path) -> None:
    manifest = read_manifest(tabular_model(tmp_path))
    assert isinstance(manifest.input, TabularInput)
    assert manifest.input.columns == COLUMNS
    assert manifest.accuracy is not None
    assert manifest.accuracy.value == 0.9


def test_a_detection_manifest_has_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    manifest = read_manifest(detection_model(tmp_path))
    assert isinstance(manifest.input, ImageInput)
    assert manifest.input.scale == 1.0
    assert manifest.accuracy is None


def test_the_model_file_is_verified(tmp_path: Path) -> None:
    folder = tabular_model(tmp_path)
    assert read_manifest(folder).model_bytes == (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(b"altered")
    with pytest.raises(ManifestError, match=r"sha256 is .* altered"):
        _ = read_manifest(folder).model_bytes


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    folder = tabular_model(tmp_path)
    (folder / "model.onnx").unlink()
    with pytest.raises(ManifestError, match=r"model\.onnx"):
        _ = read_manifest(folder).model_bytes


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('task = "classification"', 'task = "clairvoyance"', "task = 'clairvoyance'; expected one of"),
        ('licence = "MIT"', "", "'licence' is missing"),
        ('licence = "MIT"', 'licence = "MIT"\ncolour = "red"', "unknown key 'colour'"),
        ('label = "label"', "label = 3", r"\[output\] label must be str"),
        ("columns = ['length', 'width', 'weight']", "columns = []", r"\[input\] columns must be a list of texts"),
        ("[input]", "[input", "not TOML"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        read_manifest(edited(tabular_model(tmp_path), old, new))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('colour = "grey"', 'colour = "sepia"', "colour = 'sepia'; expected one of grey, rgb, bgr"),
        ("tile_px = 64", "tile_px = 0", "tile_px must be at least 1"),
        ("tile_px = 64", "tile_px = true", "tile_px must be int"),
        ('layout = "yolov8"', 'layout = "nms"', "layout nms needs 'scores' and 'classes'"),
        ('layout = "yolov8"', 'layout = "yolov9"', "layout = 'yolov9'; expected one of yolov8, yolov5, yolox"),
    ],
)
def test_a_fault_in_a_detection_manifest_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        read_manifest(edited(detection_model(tmp_path), old, new))


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"model\.toml: No such file"):
        read_manifest(tmp_path)


def test_the_accuracy_at_other_scales_is_known_by_scale(tmp_path: Path) -> None:
    folder = detection_model(tmp_path, accuracies={1.0: 0.9, 0.5: 0.8, 0.25: 0.5})
    more = "[accuracy.more]"
    edited(folder, more, f"{more}\nmap_50_95 = 0.6\nmap_50_scale_odd = 0.1")
    accuracy = read_manifest(folder).accuracy
    assert accuracy is not None
    assert accuracy.by_scale == {1.0: 0.9, 0.5: 0.8, 0.25: 0.5}


def test_columns_of_several_types_stand_in_several_tensors(tmp_path: Path) -> None:
    tensors = """tensors = [
      {name = "sizes", columns = ["length", "width"], missing = true},
      {name = "weight", columns = ["weight"], dtype = "int64"},
    ]"""
    folder = edited(tabular_model(tmp_path), "name = \"input\"\ncolumns = ['length', 'width', 'weight']", tensors)
    manifest = read_manifest(folder)
    assert manifest.input == TabularInputs(
        (TabularInput("sizes", ("length", "width"), missing=True), TabularInput("weight", ("weight",), "int64"))
    )
    assert isinstance(manifest.input, TabularInputs)
    assert manifest.input.columns == COLUMNS
    assert manifest.input.column_types == ("float32", "float32", "int64")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ('tensors = ["sizes"]', r"\[input\] tensors must be a list of tables"),
        ("tensors = [{columns = ['length']}]", r"\[input\] tensors: 'name' is missing"),
        ("tensors = [{name = 'a', columns = ['b'], dtype = 'text'}]", "tensors: dtype = 'text'; expected one of"),
        ("tensors = [{name = 'a', columns = ['b'], missing = 1}]", "tensors: missing must be bool, not 1"),
    ],
)
def test_a_fault_in_one_of_several_tensors_is_named(tmp_path: Path, given: str, complaint: str) -> None:
    folder = edited(tabular_model(tmp_path), "name = \"input\"\ncolumns = ['length', 'width', 'weight']", given)
    with pytest.raises(ManifestError, match=complaint):
        read_manifest(folder)


def test_files_of_weights_are_verified_and_their_folder_given(tmp_path: Path) -> None:
    folder = tabular_model(tmp_path)
    assert read_manifest(folder).data_folder is None
    (folder / "weights.bin").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    edited(folder, 'licence = "MIT"', f'licence = "MIT"\ndata = [{{file = "weights.bin", sha256 = "{digest}"}}]')
    assert read_manifest(folder).data_folder == folder
    (folder / "weights.bin").write_bytes(b"altered")
    with pytest.raises(ManifestError, match=r"weights\.bin: sha256 is .* altered"):
        _ = read_manifest(folder).data_folder
    (folder / "weights.bin").unlink()
    with pytest.raises(ManifestError, match=r"weights\.bin: No such file"):
        _ = read_manifest(folder).data_folder
