"""Compressed bodies come out whole, or are refused; never more in memory than the limit."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_core.compression import inflate
from inference_core.errors import InvalidRequest, TooLarge, UnsupportedMedia


@given(st.binary(max_size=2000))
def test_both_formats_give_back_the_body(body: bytes) -> None:
    assert inflate(gzip.compress(body), "gzip", bytes_max=2000) == body
    assert inflate(zlib.compress(body), "Deflate", bytes_max=2000) == body


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_body_that_is_not_compressed_is_left_alone(encoding: str) -> None:
    assert inflate(b"as it is", encoding, bytes_max=1) == b"as it is"


def test_a_bomb_is_refused_without_its_weight_in_memory() -> None:
    bomb = gzip.compress(bytes(200 << 20))
    tracemalloc.start()
    with pytest.raises(TooLarge, match="limit of 1000000 bytes"):
        inflate(bomb, "gzip", bytes_max=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


def test_the_limit_itself_is_allowed() -> None:
    assert len(inflate(gzip.compress(bytes(1000)), "gzip", bytes_max=1000)) == 1000


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"cut")[:-3], gzip.compress(b"one") + b"more"])
def test_damaged_data_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="gzip"):
        inflate(body, "gzip", bytes_max=1000)


def test_other_encodings_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedMedia, match="'br' is not taken"):
        inflate(b"", "br", bytes_max=1)
