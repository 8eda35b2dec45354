"""What an ONNX file says and ONNX Runtime does not pass on: where its weights lie, its classes, its categories.

A reader of its own, of the few fields needed (onnx.proto3 has their numbers): the `onnx` package would be 17 MB and
protobuf with it in every image for the sake of one command, and ONNX Runtime names a missing file of weights only
after it has looked for it in the wrong folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from intake.errors import Refused

_CLASSES = frozenset({"classlabels_int64s", "classlabels_ints", "classlabels_strings"})
_CATEGORIES = {"cats_strings": "string", "cats_int64s": "int64"}
_STRING, _INT_BYTES = 8, {6: 4, 7: 8}
"""Of TensorProto.DataType: texts, and the sizes of int32 and int64."""


@dataclass
class FileFacts:
    """Read by `read_facts`."""

    weights: dict[str, int] = field(default_factory=dict)
    """Files of external weights, as paths relative to the model's folder, and the least bytes each must have."""
    classes: list[tuple[str, ...]] = field(default_factory=list)
    """Lists of classes that nodes of the graph carry, in the order of the nodes."""
    categories: dict[str, list[tuple[str, ...]]] = field(default_factory=lambda: {"string": [], "int64": []})
    """Lists of the categories that encoders of texts and of whole numbers know."""
    takes_missing: bool = False
    """Whether some node has an answer to NaN: an imputer, or trees that were told where missing values go."""


def read_facts(data: bytes) -> FileFacts:
    """The facts in the ONNX file `data`. Raises Refused when it is not one, or is cut short."""
    facts = FileFacts()
    try:
        model = _fields(memoryview(data))
        graphs = [value for number, value in model if number == 7 and isinstance(value, memoryview)]
        if len(graphs) != 1:
            raise Refused("This is not an ONNX model: it holds no graph.")
        _read_graph(graphs[0], facts)
    except (ValueError, IndexError, RecursionError):
        raise Refused("This is not an ONNX model, or one that is cut short: it does not parse.") from None
    return facts


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an int, or the bytes of what has a length."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        match key & 7:
            case 0:
                value, place = _varint(message, place)
                yield key >> 3, value
                continue
            case 1:
                end = place + 8
            case 5:
                end = place + 4
            case 2:
                length, place = _varint(message, place)
                end = place + length
            case kind:
                raise ValueError(f"no field has wire type {kind}")
        if end > len(message):
            raise ValueError("a field reaches beyond its message")
        yield key >> 3, message[place:end]
        place = end


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _parts(message: memoryview, *numbers: int) -> Iterator[memoryview]:
    """The messages and texts in the fields `numbers`."""
    return (value for number, value in _fields(message) if number in numbers and isinstance(value, memoryview))


def _text(message: memoryview, number: int) -> str:
    return next((str(value, "utf-8") for value in _parts(message, number)), "")


def _read_graph(graph: memoryview, facts: FileFacts) -> None:
    for node in _parts(graph, 1):
        facts.takes_missing |= _text(node, 4) == "Imputer"
        for attribute in _parts(node, 5):
            _read_attribute(attribute, facts)
    for tensor in _parts(graph, 5):
        _read_tensor(tensor, facts)
    for sparse in _parts(graph, 15):
        for tensor in _parts(sparse, 1, 2):
            _read_tensor(tensor, facts)


def _read_attribute(attribute: memoryview, facts: FileFacts) -> None:
    name = _text(attribute, 1)
    if name in _CLASSES or name in _CATEGORIES:
        values = tuple(_values(attribute, texts=9, numbers=8))
        if values:
            (facts.classes if name in _CLASSES else facts.categories[_CATEGORIES[name]]).append(values)
    elif name == "nodes_missing_value_tracks_true":
        facts.takes_missing |= any(value != "0" for value in _values(attribute, texts=9, numbers=8))
    for tensor in _parts(attribute, 5, 10):
        _read_tensor(tensor, facts)
    for graph in _parts(attribute, 6, 11):
        _read_graph(graph, facts)


def _values(message: memoryview, *, texts: int, numbers: int) -> Iterator[str]:
    """The elements of two repeated fields as text; numbers may be packed."""
    for number, value in _fields(message):
        if number == texts and isinstance(value, memoryview):
            yield str(value, "utf-8")
        elif number == numbers and isinstance(value, int):
            yield str(_signed(value))
        elif number == numbers and isinstance(value, memoryview):
            place = 0
            while place < len(value):
                one, place = _varint(value, place)
                yield str(_signed(one))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _read_tensor(tensor: memoryview, facts: FileFacts) -> None:
    entries = {_text(entry, 1): _text(entry, 2) for entry in _parts(tensor, 13)}
    if "location" in entries:
        end = int(entries.get("offset") or 0) + int(entries.get("length") or 0)
        facts.weights[entries["location"]] = max(end, facts.weights.get(entries["location"], 0))
    elif "class" in _text(tensor, 8):
        # Converters of models without a tree or a line in them keep the classes in a tensor of that name.
        kind = next((value for number, value in _fields(tensor) if number == 2), None)
        if isinstance(kind, int) and (kind == _STRING or kind in _INT_BYTES):
            facts.classes.append(tuple(_tensor_values(tensor, kind)))


def _tensor_values(tensor: memoryview, kind: int) -> Iterator[str]:
    size = _INT_BYTES.get(kind, 1)
    yield from _values(tensor, texts=6, numbers=5 if size == 4 else 7)
    for raw in _parts(tensor, 9):
        places = range(0, len(raw), size)
        yield from (str(int.from_bytes(raw[place : place + size], "little", signed=True)) for place in places)
