"""JSON is parsed up to a depth, whatever its texts hold."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_core.documents import TooDeep, read_json


def nested(depth: int, text: str = "") -> bytes:
    return (b"[" * depth) + json.dumps(text).encode() + (b"]" * depth)


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_the_limit_itself_is_read_and_one_deeper_is_refused(limit: int) -> None:
    assert read_json(nested(limit), json.loads, depth_max=limit)
    with pytest.raises(TooDeep, match=f"limit of {limit}"):
        read_json(nested(limit + 1), json.loads, depth_max=limit)


@pytest.mark.parametrize("text", ["[" * 99, "]" * 99, '"[{' * 99, "\\[" * 99, '\\"[' * 99, "][" * 99])
def test_brackets_in_texts_do_not_count(text: str) -> None:
    assert read_json(nested(2, text), json.loads, depth_max=2)
    with pytest.raises(TooDeep):
        read_json(nested(3, text), json.loads, depth_max=2)


documents = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\a\n', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='[]{}"\\', max_size=4), inner),
    max_leaves=30,
)


def depth(document: Any) -> int:
    match document:
        case list():
            return 1 + max(map(depth, document), default=0)
        case dict():
            return 1 + max(map(depth, document.values()), default=0)
    return 0


@given(documents, st.booleans())
def test_the_depth_is_that_of_the_parsed_document(document: Any, ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    deepest = depth(document)
    assert read_json(body, json.loads, depth_max=max(deepest, 1)) == document
    if deepest > 1:
        with pytest.raises(TooDeep):
            read_json(body, json.loads, depth_max=deepest - 1)


@pytest.mark.parametrize("part", [b'\\"', b'"[', b"[\\", b'[\\"', b"[", b'[""', b'["]'])
def test_the_time_grows_with_the_body_not_with_its_square(part: bytes) -> None:
    def seconds(times: int) -> float:
        started = time.process_time()
        with pytest.raises((TooDeep, ValueError, RecursionError)):
            read_json(b"[" * 70 + b'"' + part * times, json.loads, depth_max=64)
        return time.process_time() - started

    seconds(1000)
    assert seconds(800_000) < 60 * max(seconds(40_000), 0.01)


@pytest.mark.parametrize("body", [b"", b"[", b'"', b"\xff", b"[" * 60, b'["[[[[', b"\\"])
def test_what_is_no_json_is_left_to_the_parser(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        read_json(body, json.loads, depth_max=64)
    assert not isinstance(error.value, TooDeep)
