"""Make the float16 variant of an exported detector: a model folder beside the float32 one, for GPUs.

python -m training.detector.half --model shared/models/board-defects-l --out shared/models/board-defects-l-fp16

Convolutions and what lies between them work in 16 bits; pixels come in as they did and boxes go out in float32. What
follows the last convolutions stays in float32: float16 tells coordinates above 512 px apart by half a pixel only, and
a box side is an exponential. (ONNX Runtime's own converter casts to float16 between any two nodes that it was told to
leave in float32, so it cannot do that.) A CPU gains nothing: ONNX Runtime casts to float32 and back there.
The accuracy is measured as any model's, by `python -m training.evaluate`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

_GOLDEN_TOLERANCE = {"score": 0.02, "box_px": 1.0}
"""How far an answer in 16 bits may be from torch's in 32."""
_SUFFIX = "-fp16"


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in float16 up to its last convolutions (in place), its inputs and outputs as they were."""
    graph = model.graph
    floats, body, tail = _floats(model), *_parts(graph)
    made_by_body = {name for node in graph.node if node.output[0] in body for name in node.output}
    copies = _Copies(graph)
    for node in graph.node:
        if node.output[0] in body:
            copies.replace(node, floats - made_by_body, TensorProto.FLOAT16, "_half")
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
        elif node.output[0] in tail:
            copies.replace(node, floats & made_by_body, TensorProto.FLOAT, "_float32")
        copies.nodes.append(node)
    _keep(graph, copies.nodes)
    return model


class _Copies:
    """Values of a graph in another type, each made once, where it is first read."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._weights = {value.name: value for value in graph.initializer}
        self._known: set[str] = set()

    def replace(self, node: onnx.NodeProto, names: set[str], kind: int, suffix: str) -> None:
        """Have `node` read copies of type `kind` of those inputs that are among `names`."""
        # The scales of a Resize are float32 whatever it resizes.
        for index, name in enumerate(node.input[:1] if node.op_type == "Resize" else node.input):
            if name in names:
                node.input[index] = self._copy(name, kind, name + suffix)

    def _copy(self, name: str, kind: int, target: str) -> str:
        if target not in self._known:
            self._known.add(target)
            if name in self._weights:
                values = numpy_helper.to_array(self._weights[name]).astype(np.float16)
                self._graph.initializer.append(numpy_helper.from_array(values, target))
            else:
                self.nodes.append(helper.make_node("Cast", [name], [target], target, to=kind))
        return target


def _keep(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Have `graph` consist of `nodes` and what they read."""
    used = {name for node in nodes for name in node.input}
    weights = [value for value in graph.initializer if value.name in used]
    del graph.node[:], graph.value_info[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def _floats(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 values."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {value.name for value in graph.initializer if value.data_type == TensorProto.FLOAT}


def _parts(graph: onnx.GraphProto) -> tuple[set[str], set[str]]:
    """The nodes that are convolutions or feed one, and those that follow the last of them, each by its first output;
    constants are in neither.
    """
    body: set[str] = set()
    tail: set[str] = set()
    feeds_convolution: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "Constant":
            continue
        if node.op_type == "Conv" or feeds_convolution.intersection(node.output):
            feeds_convolution.update(node.input)
            body.add(node.output[0])
        else:
            tail.add(node.output[0])
    return body, tail


def largest_differences(one: Path, other: Path, picture: Path) -> tuple[float, float]:
    """How far apart two models' outputs are on `picture`, by all cells: scores, and box edges in pixels where either
    model's score is above a tenth.
    """
    pixels = np.asarray(Image.open(picture).convert("L"))[None, None]
    outputs = []
    for path in (one, other):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {session.get_inputs()[0].name: pixels})[0][0])
    scores = np.abs(outputs[0][4:] - outputs[1][4:])
    seen = np.maximum(outputs[0][4:], outputs[1][4:]).max(axis=0) > 0.1
    boxes = np.abs(outputs[0][:4, seen] - outputs[1][:4, seen])
    return float(scores.max()), float(boxes.max(initial=0.0))


def half_manifest(text: str, digest: str) -> str:
    """The text of the float32 model's `model.toml` as the float16 one's: another name, variant and file, and no
    accuracy, which is still to be measured.
    """
    text = text.partition("[accuracy]")[0].rstrip() + "\n"
    for key in ("name", "variant"):
        text = re.sub(rf'^{key} = "([^"]+)"', rf'{key} = "\g<1>{_SUFFIX}"', text, count=1, flags=re.MULTILINE)
    text = re.sub(r'^sha256 = "[^"]+"', f'sha256 = "{digest}"', text, flags=re.MULTILINE)
    return re.sub(
        r'^source = "(.*)"$', r'source = "\1; float16 by `python -m training.detector.half`"', text, flags=re.MULTILINE
    )


def main(arguments: list[str] | None = None) -> None:
    """Convert the model folder `--model` into the folder `--out`."""
    parser = argparse.ArgumentParser(prog="python -m training.detector.half", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the float32 model's folder")
    parser.add_argument("--out", type=Path, required=True, help="the float16 model's folder")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    partial = options.out / "model.partial.onnx"
    onnx.save(half(onnx.load(options.model / "model.onnx")), partial)
    golden = json.loads((options.model / "golden.json").read_text())
    scores, pixels = largest_differences(options.model / "model.onnx", partial, options.model / golden["image"])
    print(f"largest difference to float32: scores {scores:.2e}, boxes {pixels:.2e} px")
    if scores > _GOLDEN_TOLERANCE["score"] or pixels > _GOLDEN_TOLERANCE["box_px"]:
        partial.unlink()
        raise SystemExit("float16 answers too differently: is there an operator in the body that needs float32?")
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    partial.replace(options.out / "model.onnx")
    (options.out / "model.toml").write_text(half_manifest((options.model / "model.toml").read_text(), digest))
    shutil.copy(options.model / golden["image"], options.out)
    (options.out / "golden.json").write_text(json.dumps(golden | {"tolerance": _GOLDEN_TOLERANCE}, indent=1) + "\n")


if __name__ == "__main__":
    main()
