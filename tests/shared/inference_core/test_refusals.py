"""What callers are told of a run that fails, over real failures of ONNX Runtime."""

from typing import Any

import numpy as np
import pytest
from inference_core.errors import InvalidTensor, OutOfMemory
from inference_core.refusals import explained
from inference_core.session import Session
from onnx import TensorProto, helper

FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
ONE, FOUR = np.ones(1, np.float32), np.ones(4, np.float32)


def failure(operator: str, inputs: list[tuple[int, Any]], **attributes: Any) -> Exception:
    """What ONNX Runtime raises when `operator` gets these inputs."""
    names = [f"i{number}" for number in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["out"], **attributes)],
        "failing",
        [
            helper.make_tensor_value_info(name, kind, [f"{name}_{side}" for side in range(np.ndim(value))])
            for name, (kind, value) in zip(names, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("out", attributes.get("to", FLOAT), None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = Session(model.SerializeToString(), threads=1)
    with pytest.raises(Exception, match="ONNXRuntimeError") as raised:
        session.run({name: np.asarray(value) for name, (_, value) in zip(names, inputs, strict=True)})
    return raised.value


@pytest.mark.parametrize(
    ("operator", "inputs", "words"),
    [
        ("Reshape", [(FLOAT, FOUR), (INT, [3, 5])], "Reshape: The input tensor cannot be reshaped"),
        ("Gather", [(FLOAT, FOUR), (INT, [9])], "Gather: indices element out of data bounds, idx=9"),
        ("Add", [(FLOAT, FOUR), (FLOAT, np.ones(3, np.float32))], "Add: Attempting to broadcast"),
        ("MatMul", [(FLOAT, np.ones((2, 3), np.float32))] * 2, "MatMul: MatMul dimension mismatch"),
        ("ConstantOfShape", [(INT, [-3])], "ConstantOfShape: Tensor shape.Size() must be >= 0"),
        ("ConstantOfShape", [(INT, [1 << 62, 1 << 62])], "ConstantOfShape: Integer overflow"),
        ("Slice", [(FLOAT, FOUR), (INT, [1]), (INT, [1, 2])], "Slice: Starts and ends shape mismatch"),
        ("CumSum", [(FLOAT, FOUR), (INT, 5)], "CumSum: axis 5 is not in valid range"),
    ],
)
def test_values_that_an_operator_does_not_take_are_the_callers_fault(
    operator: str, inputs: list[tuple[int, Any]], words: str
) -> None:
    refusal = explained(failure(operator, inputs))
    assert isinstance(refusal, InvalidTensor)
    assert words in refusal.detail
    for private in ("onnxruntime", ".cc", ".h:", "::", "ONNXRuntimeError"):
        assert private not in refusal.detail


@pytest.mark.parametrize("shape", [[1 << 40], [1 << 20, 1 << 22]])
def test_too_little_memory_is_not_the_callers_fault(shape: list[int]) -> None:
    for error in (failure("ConstantOfShape", [(INT, shape)]), failure("Expand", [(FLOAT, ONE), (INT, shape)])):
        refusal = explained(error)
        assert isinstance(refusal, OutOfMemory)
        assert refusal.status == 503
    assert isinstance(explained(MemoryError()), OutOfMemory)


@pytest.mark.parametrize(
    "message",
    [
        "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered ; GPU=0",
        "[ONNXRuntimeError] : 1 : FAIL : CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0 ; hostname=here",
    ],
)
def test_a_failing_device_is_our_fault(message: str) -> None:
    class Fail(Exception):  # as ONNX Runtime names it; no device that fails on demand is at hand
        pass

    assert explained(Fail(message)) is None


def test_a_device_without_memory_is_short_of_memory() -> None:
    class Fail(Exception):
        pass

    assert isinstance(explained(Fail("CUDA failure 2: out of memory ; GPU=0 ; hostname=here")), OutOfMemory)


def test_an_error_of_another_class_is_our_fault() -> None:
    assert explained(ValueError("any")) is None
    assert explained(RuntimeError("No corresponding Numpy type for Tensor Type. bfloat16")) is None


@pytest.mark.parametrize(
    "tail",
    [
        "in /srv/build/thing.so at 0x7f12",
        "C:\\build\\x",
        "ns::Kernel failed",
        "x" * 1000,
        "",
        "look at model.py line 3",
    ],
)
def test_a_sentence_that_looks_like_code_or_a_path_is_replaced(tail: str) -> None:
    class Fail(Exception):
        pass

    text = (
        f"[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Odd node. Status Message: {tail}"
    )
    refusal = explained(Fail(text))
    assert refusal is not None
    assert refusal.detail == "The model refuses these values: Odd: they do not fit this operator."
