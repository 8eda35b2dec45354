"""Models that work on text ask for a locale (en_US.UTF-8 unless they say otherwise) that slim machines do not have: the
images provide it, and elsewhere the start is refused in words.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from tests.conformance.locales import PLAIN, with_english
from tests.conftest import PROJECT

LOWERED = """
import sys
import numpy as np
from inference_core.session import Session
with open(sys.argv[1], "rb") as file:
    session = Session(file.read(), threads=1)
sys.stdout.buffer.write(session.run({"x": np.array(["ÀB"], object)})[0][0].encode())
"""


def lowered(folder: Path, locales: Path, **attributes: str) -> "subprocess.CompletedProcess[bytes]":
    """What a StringNormalizer makes of "ÀB" in a process that finds its locales in `locales` alone."""
    graph = helper.make_graph(
        [helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", **attributes)],
        "lower",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    command = [sys.executable, "-X", "utf8", "-c", LOWERED, str(folder / "model.onnx")]
    return subprocess.run(command, env={"LOCPATH": str(locales)}, capture_output=True, check=False)


def test_a_missing_locale_is_named_with_what_to_do(tmp_path: Path) -> None:
    done = lowered(tmp_path, tmp_path)
    assert done.returncode != 0
    sentence = done.stderr.decode().splitlines()[-1]
    assert 'the locale "en_US.UTF-8", which this machine does not have' in sentence
    assert "locales-all" in sentence


@pytest.mark.skipif(not PLAIN.is_dir(), reason="no C.utf8 locale here to stand in, as in the images")
def test_the_plain_locale_under_the_english_name_serves(tmp_path: Path) -> None:
    locales = tmp_path / "locales"
    locales.mkdir()
    with_english(locales)
    assert lowered(tmp_path, locales).stdout.decode() == "àb"


@pytest.mark.skipif(not PLAIN.is_dir(), reason="no C.utf8 locale here")
def test_a_model_may_ask_for_the_plain_locale_itself(tmp_path: Path) -> None:
    assert lowered(tmp_path, PLAIN.parent, locale="C.UTF-8").stdout.decode() == "àb"


@pytest.mark.parametrize("image", ["container", "vm-gpu"])
def test_the_images_provide_it(image: str) -> None:
    assert f"ln -s {PLAIN.name} {PLAIN.parent}/en_US.utf8" in (PROJECT / image / "Dockerfile").read_text()
