"""How fast one core is: a product of two matrices through ONNX Runtime, which is what models are mostly made of.

ONNX Runtime, because NumPy's product runs on as many threads as its BLAS likes, and on another BLAS elsewhere.
"""

import base64
from collections.abc import Sequence
from time import perf_counter

import numpy as np
from inference_core.session import Session
from tier_planner.measurements import Calibration, quantile

SIDE = 512
KERNEL = f"float32 matrix product, {SIDE} x {SIDE} x {SIDE}, ONNX Runtime, one thread"
REPETITIONS = 15
GFLOP = 2 * SIDE**3 / 1e9
MODEL = base64.b64decode(
    "CAkSADpPChEKAWEKAWISAWMiBk1hdE11bBIHcHJvZHVjdFoPCgFhEgoKCAgBEgQKAAoAWg8KAWISCgoICAESBAoACgBiDwoBYxIK"
    "CggIARIECgAKAEIECgAQEQ=="
)
"""An ONNX file of one node: c = MatMul(a, b), float32 of any size."""


def calibrate(repetitions: int = REPETITIONS) -> list[float]:
    """GFLOP/s of one core, one entry a repetition."""
    rng = np.random.default_rng(0)
    feeds = {name: rng.random((SIDE, SIDE), np.float32) for name in "ab"}
    session = Session(MODEL, threads=1)
    session.run(feeds)
    found = []
    for _ in range(repetitions):
        started = perf_counter()
        session.run(feeds)
        found.append(GFLOP / (perf_counter() - started))
    return found


def calibration_of(gflops: Sequence[float]) -> Calibration:
    """What the repetitions say together."""
    median = quantile(gflops, 0.5)
    return Calibration(KERNEL, median, (quantile(gflops, 0.75) - quantile(gflops, 0.25)) / median)
