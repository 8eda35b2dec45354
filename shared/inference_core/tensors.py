"""Tensors as the Open Inference Protocol v2 writes them: JSON lists and raw little-endian bytes, to and from numpy.

Facts are the protocol's (kserve/open-inference-protocol, `inference_rest.md`) and its binary tensor extension's
(triton-inference-server, `extension_binary_data.md`).
"""

import json
import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.errors import InvalidTensor

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
}
"""The numpy type of each datatype; BYTES is ONNX Runtime's string tensor, an object array of str."""

_ONNX = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
_JSON_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "O": {str}}
_LENGTH = struct.Struct("<I")


def datatype(onnx_type: str) -> str | None:
    """The datatype of an ONNX Runtime type such as `tensor(float)`; None where the protocol has none (bfloat16,
    float8, int4, optional). Sequences and maps are answered as BYTES, one JSON document an element.
    """
    if onnx_type.startswith(("seq(", "map(")):
        return "BYTES"
    return _ONNX.get(onnx_type.removeprefix("tensor(").removesuffix(")"))


def element_count(shape: Sequence[int]) -> int:
    """How many elements a tensor of `shape` has."""
    return math.prod(shape)


def from_json(data: Any, kind: str, shape: Sequence[int], name: str) -> Array:
    """A tensor from `data`, flat or nested row by row. Raises InvalidTensor naming the input."""
    flat = _flat(data, shape, name)
    wanted = DTYPES[kind]
    if len(flat) != element_count(shape):
        raise InvalidTensor(
            f'Input "{name}": shape {list(shape)} needs {element_count(shape)} values, got {len(flat)}.'
        )
    if not set(map(type, flat)) <= _JSON_TYPES[wanted.kind]:
        raise InvalidTensor(f'Input "{name}": "data" holds values that are no {kind}.')
    if kind == "BYTES":
        if not all(map(is_text, flat)):
            raise InvalidTensor(f'Input "{name}": "data" holds half a surrogate pair, which is no text.')
        return string_array(flat, shape)
    try:
        with np.errstate(over="raise"):
            return np.array(flat, wanted).reshape(shape)
    except (OverflowError, FloatingPointError):
        raise InvalidTensor(f'Input "{name}": "data" holds a value outside the range of {kind}.') from None


def _flat(given: Any, shape: Sequence[int], name: str) -> list[Any]:
    if not isinstance(given, list):
        raise InvalidTensor(f'Input "{name}": "data" is not a list.')
    data: list[Any] = given
    lengths: list[int] = []
    while data and isinstance(data[0], list) and len(lengths) < len(shape):
        lengths.append(len(data))
        if not all(type(row) is list and len(row) == len(data[0]) for row in data):
            raise InvalidTensor(f'Input "{name}": the rows of "data" differ in length or depth.')
        data = list(chain.from_iterable(data))
    if lengths:
        sizes = [math.prod(shape[: depth + 1]) for depth in range(len(lengths))]
        if lengths != sizes:
            raise InvalidTensor(f'Input "{name}": "data" is not nested as its shape {list(shape)} says.')
    return data


def from_bytes(data: memoryview, kind: str, shape: Sequence[int], name: str) -> Array:
    """A tensor from raw bytes, row-major and little-endian, without a copy where the type allows. Raises
    InvalidTensor naming the input when the length and the shape disagree.
    """
    if kind == "BYTES":
        return _strings(data, shape, name)
    wanted = DTYPES[kind]
    needed = element_count(shape) * wanted.itemsize
    if len(data) != needed:
        raise InvalidTensor(f'Input "{name}": {kind} {list(shape)} needs {needed} bytes, got {len(data)}.')
    if kind == "BOOL":
        # A byte other than 0 and 1 is no numpy bool: it would be read as true here and as something else there.
        return np.not_equal(np.frombuffer(data, np.uint8), 0).reshape(shape)
    return np.frombuffer(data, wanted).reshape(shape)


def _strings(data: memoryview, shape: Sequence[int], name: str) -> Array:
    """Elements as a 4-byte length and that many bytes of UTF-8."""
    texts: list[str] = []
    place, count = 0, element_count(shape)
    while place < len(data) and len(texts) < count:
        if place + _LENGTH.size > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, place)
        end = place + _LENGTH.size + length
        if end > len(data):
            break
        texts.append(_text(data[place + _LENGTH.size : end], name))
        place = end
    if len(texts) != count or place != len(data):
        raise InvalidTensor(
            f'Input "{name}": BYTES {list(shape)} needs {count} elements, each a 4-byte length and text.'
        )
    return string_array(texts, shape)


def _text(data: memoryview, name: str) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise InvalidTensor(f'Input "{name}": a BYTES element is not UTF-8, which ONNX strings are.') from None


def is_text(text: str) -> bool:
    """Whether `text` can be written as UTF-8: JSON may escape half a surrogate pair, which is no character."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def string_array(texts: list[str], shape: Sequence[int]) -> Array:
    """An object array of `texts`; numpy must not guess a shape from them."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array.reshape(shape)


def to_json(array: Array) -> list[Any]:
    """The elements of `array` in one flat list. NaN and infinities become the bare words that Python's and
    RapidJSON's parsers read; a strict reader asks for binary.
    """
    values: list[Any] = array.reshape(-1).tolist()
    return values


def to_bytes(array: Array) -> bytes:
    """The elements of `array`, row-major and little-endian; texts as a 4-byte length and UTF-8."""
    if array.dtype == object:
        texts = [text.encode() for text in array.reshape(-1).tolist()]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(text)), text) for text in texts))
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little.tobytes()


def documents(value: Any) -> Array:
    """A sequence or map output as BYTES [elements]: one JSON document an element of the sequence. A map is an
    object (its keys as text), a tensor `{"datatype", "shape", "data"}`.
    """
    elements = value if isinstance(value, list) else [value]
    return string_array([json.dumps(_document(element)) for element in elements], [len(elements)])


def _document(element: Any) -> Any:
    if isinstance(element, dict):
        return {str(key): value.item() if isinstance(value, np.generic) else value for key, value in element.items()}
    array = np.asarray(element)
    kind = next((kind for kind, dtype in DTYPES.items() if dtype == array.dtype), str(array.dtype))
    return {"datatype": kind, "shape": list(array.shape), "data": to_json(array)}
