"""The kernel is the matrix product that its name says, and its figure is that of the work done."""

import numpy as np
from inference_core.session import Session
from onnx import TensorProto, helper
from tier_measure.calibration import KERNEL, MODEL, calibrate, calibration_of


def test_the_kernel_is_one_matrix_product() -> None:
    matrices = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in "abc"]
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", matrices[:2], matrices[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="")
    assert model.SerializeToString(deterministic=True) == MODEL


def test_it_multiplies() -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((3, 2), np.float32)
    (product,) = Session(MODEL, threads=1).run({"a": a, "b": b})
    assert (product == a @ b).all()


def test_the_repetitions_become_a_median_and_a_spread() -> None:
    found = calibrate(repetitions=3)
    assert len(found) == 3
    assert min(found) > 0
    calibration = calibration_of([40.0, 50.0, 60.0, 50.0, 50.0])
    assert (calibration.kernel, calibration.gflops_per_core, calibration.spread) == (KERNEL, 50.0, 0.0)
    assert calibration_of([40.0, 45.0, 50.0, 55.0, 60.0]).spread == 0.2
