"""Tensors survive the wire in both forms, and what contradicts itself is refused by name."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from inference_core import tensors
from inference_core.errors import InvalidTensor

NUMERIC = [kind for kind in tensors.DTYPES if kind != "BYTES"]


@st.composite
def numeric_tensors(draw: st.DrawFn) -> tuple[str, Any]:
    kind = draw(st.sampled_from(NUMERIC))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    return kind, draw(arrays.arrays(tensors.DTYPES[kind], shape))


@given(numeric_tensors())
def test_binary_gives_back_every_bit(case: tuple[str, Any]) -> None:
    kind, array = case
    data = tensors.to_bytes(array)
    again = tensors.from_bytes(memoryview(data), kind, array.shape, "x")
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert tensors.to_bytes(again) == data


@given(numeric_tensors())
def test_json_gives_back_every_value(case: tuple[str, Any]) -> None:
    kind, array = case
    data = json.loads(json.dumps(tensors.to_json(array)))
    again = tensors.from_json(data, kind, array.shape, "x")
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_texts_survive_both_forms(texts: list[str]) -> None:
    array = tensors.string_array(texts, [len(texts)])
    assert tensors.from_bytes(memoryview(tensors.to_bytes(array)), "BYTES", [len(texts)], "x").tolist() == texts
    assert tensors.from_json(tensors.to_json(array), "BYTES", [len(texts)], "x").tolist() == texts


def test_a_text_is_a_little_endian_length_and_its_bytes() -> None:
    assert tensors.to_bytes(tensors.string_array(["né"], [1])) == b"\x03\x00\x00\x00n\xc3\xa9"


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
def test_json_may_be_flat_or_nested(data: list[Any]) -> None:
    np.testing.assert_array_equal(tensors.from_json(data, "INT32", [2, 3], "x"), [[1, 2, 3], [4, 5, 6]])


def test_a_half_precision_tensor_may_come_as_json_numbers() -> None:
    assert tensors.from_json([0.5, 1], "FP16", [2], "x").dtype == np.float16


def test_an_empty_tensor_needs_no_values() -> None:
    assert tensors.from_json([], "FP32", [0, 3], "x").shape == (0, 3)


@pytest.mark.parametrize(
    ("data", "kind", "shape"),
    [
        (None, "FP32", [1]),
        ({}, "FP32", [1]),
        ("1", "FP32", [1]),
        ([1], "FP32", [2]),
        ([1, 2, 3], "FP32", [2]),
        ([[1, 2], [3]], "FP32", [3]),
        ([[1, 2], 3], "FP32", [3]),
        ([[1], [2]], "FP32", [1, 2]),
        ([[[1, 2]]], "FP32", [1, 2]),
        ([1.5], "INT32", [1]),
        ([True], "INT32", [1]),
        ([1], "BOOL", [1]),
        (["1"], "FP32", [1]),
        ([None], "FP32", [1]),
        ([1], "BYTES", [1]),
        ([256], "UINT8", [1]),
        ([-1], "UINT64", [1]),
        ([2**64], "UINT64", [1]),
        ([1e39], "FP32", [1]),
        ([70000], "FP16", [1]),
        ([10**400], "FP64", [1]),
    ],
)
def test_json_that_does_not_fit_is_refused_by_name(data: Any, kind: str, shape: list[int]) -> None:
    with pytest.raises(InvalidTensor, match='Input "x"'):
        tensors.from_json(data, kind, shape, "x")


def test_infinity_and_nan_may_be_asked_for() -> None:
    found = tensors.from_json([float("inf"), float("-inf"), float("nan")], "FP16", [3], "x")
    np.testing.assert_array_equal(found, [np.inf, -np.inf, np.nan])


@pytest.mark.parametrize(
    ("data", "kind", "shape"),
    [
        (b"\x00" * 7, "FP32", [2]),
        (b"\x00" * 9, "FP32", [2]),
        (b"", "UINT8", [1]),
        (b"\x01", "BYTES", [1]),
        (b"\x02\x00\x00\x00a", "BYTES", [1]),
        (b"\x01\x00\x00\x00ab", "BYTES", [1]),
        (b"\x01\x00\x00\x00a", "BYTES", [2]),
        (b"\x01\x00\x00\x00\xff", "BYTES", [1]),
        (struct.pack("<I", 2**32 - 1), "BYTES", [1]),
    ],
)
def test_bytes_that_do_not_fit_are_refused_by_name(data: bytes, kind: str, shape: list[int]) -> None:
    with pytest.raises(InvalidTensor, match='Input "x"'):
        tensors.from_bytes(memoryview(data), kind, shape, "x")


def test_any_byte_but_0_is_true() -> None:
    assert tensors.from_bytes(memoryview(b"\x00\x01\x02\xff"), "BOOL", [4], "x").tolist() == [False, True, True, True]


def test_a_binary_tensor_is_read_without_a_copy() -> None:
    data = bytes(1 << 20)
    assert np.shares_memory(
        tensors.from_bytes(memoryview(data), "UINT8", [1 << 20], "x"), np.frombuffer(data, np.uint8)
    )


def test_sequences_and_maps_become_json_documents() -> None:
    maps = tensors.documents([{0: np.float32(0.25), 1: 0.75}, {"a": 1}])
    assert [json.loads(text) for text in maps.tolist()] == [{"0": 0.25, "1": 0.75}, {"a": 1}]
    (one,) = tensors.documents([np.array([[1, 2]], np.int64)]).tolist()
    assert json.loads(one) == {"datatype": "INT64", "shape": [1, 2], "data": [1, 2]}


@pytest.mark.parametrize(
    ("onnx_type", "kind"),
    [
        ("tensor(float)", "FP32"),
        ("tensor(string)", "BYTES"),
        ("tensor(bfloat16)", None),
        ("seq(map(int64,tensor(float)))", "BYTES"),
        ("optional(tensor(float))", None),
    ],
)
def test_onnx_types_have_a_datatype_or_none(onnx_type: str, kind: str | None) -> None:
    assert tensors.datatype(onnx_type) == kind


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert tensors.from_json(["🙂", "plain"], "BYTES", [2], "x").tolist() == ["🙂", "plain"]
    with pytest.raises(InvalidTensor, match="half a surrogate pair"):
        tensors.from_json(["\ud83d"], "BYTES", [1], "x")
