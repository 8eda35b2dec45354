"""Bodies of every kind, sound ones damaged and others made up: an answer or a refusal, never a fault or a hang."""

import json
import socket
import struct
import zlib
from typing import Any

import httpx
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.conftest import ANSWERED_S, STATUSES, judged
from tests.models import COLUMNS, encoded, squares_picture

INFER, DETECT = "/v2/models/sizes-linear/infer", "/v1/models/squares-n/predict"
TABULAR = "/v1/models/sizes-linear/predict"
DATATYPES = ["FP32", "FP64", "FP16", "INT64", "INT8", "UINT8", "BOOL", "BYTES", "BF16", "fp32", ""]

NO_NUMBERS: list[Any] = [None, True, "", "x", [], {}, [[]], "\ud800"]
odd: st.SearchStrategy[Any] = st.sampled_from([*NO_NUMBERS, -1, 0, 1, 2**31, 2**63, 1e400, -0.0])
sides = st.integers(-2, 5) | st.sampled_from([2**31, 2**62, 10**30, None, "3", 1.0, True])
shapes = st.lists(sides, max_size=5) | odd
numbers = st.floats() | st.integers() | odd


def mostly(value: Any, other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`value` nineteen times of twenty: a body with one fault or two reaches further than one with ten."""
    return st.integers(0, 19).flatmap(lambda chance: other if chance == 13 else st.just(value))


@st.composite
def binary_calls(draw: st.DrawFn) -> tuple[bytes, str]:
    """An infer body with raw tensors behind its JSON, each of its lengths true or not; and the length header."""
    rows = draw(st.integers(0, 4))
    raw = draw(mostly(np.zeros((rows, 3), "<f4").tobytes(), st.binary(max_size=60)))
    size = draw(mostly(len(raw), st.integers(-5, 200) | odd))
    entry: dict[str, Any] = {
        "name": draw(mostly("input", st.text(max_size=5) | odd)),
        "shape": draw(mostly([rows, 3], shapes)),
        "datatype": draw(mostly("FP32", st.sampled_from(DATATYPES) | odd)),
        "parameters": draw(mostly({"binary_data_size": size}, odd)),
    }
    if draw(st.integers(0, 9)) == 0:
        entry["data"] = draw(st.lists(numbers, max_size=4) | odd)
    document: dict[str, Any] = {"inputs": draw(mostly([entry], st.just([entry, entry]) | odd))}
    if draw(st.booleans()):
        wanted = {"name": draw(mostly("probabilities", odd)), "parameters": draw(mostly({"binary_data": True}, odd))}
        document["outputs"] = draw(mostly([wanted], st.just([wanted, wanted]) | odd))
    if draw(st.booleans()):
        document["parameters"] = draw(mostly({"binary_data_output": draw(st.booleans())}, odd))
    if draw(st.booleans()):
        document["id"] = draw(st.text(max_size=10) | odd)
    text = json.dumps(document).encode()
    length = draw(
        mostly(str(len(text)), st.integers(-3, 2 * len(text)).map(str) | st.sampled_from(["", "x", "0", "٣"]))
    )
    return text + raw, length


@given(binary_calls())
def test_binary_framing(client: httpx.Client, call: tuple[bytes, str]) -> None:
    body, length = call
    headers = {b"inference-header-content-length": length.encode()}
    judged("binary tensors", client.post(INFER, content=body, headers=headers))


@given(st.binary(max_size=400), st.sampled_from(["0", "1", "", None]))
@example(b"", "0")
def test_raw_tensors(client: httpx.Client, body: bytes, length: str | None) -> None:
    headers = {} if length is None else {"inference-header-content-length": length}
    judged("raw tensors", client.post(INFER, content=body, headers=headers))


json_values = st.recursive(
    numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.sampled_from(COLUMNS), inner),
    max_leaves=20,
)
cells = mostly(1.5, numbers) | st.floats(-1e6, 1e6)
rows = st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, cells)), min_size=1, max_size=4)


@given(st.sampled_from(["", "deflate", "gzip"]), rows | json_values, mostly(True, st.just(False)))
def test_json_rows(client: httpx.Client, encoding: str, value: Any, wrapped: bool) -> None:
    body = json.dumps({"rows": value} if wrapped else value).encode()
    headers = {"content-encoding": encoding} if encoding else {}
    if encoding == "deflate":  # what says gzip is none
        body = zlib.compress(body)
    judged("rows", client.post(TABULAR, content=body, headers=headers))


def _sound() -> list[bytes]:
    grey = Image.fromarray(np.add.outer(np.arange(48), 2 * np.arange(64)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    exif.get_ifd(0x8769)[0x9286] = "a comment"
    return [
        squares_picture(64, 64, [(16, 32)]),
        encoded(grey, "JPEG", exif=exif),
        encoded(grey.convert("RGB"), "JPEG", progressive=True),
        encoded(grey.convert("CMYK"), "JPEG", icc_profile=bytes(300)),
        encoded(grey, "MPO", save_all=True, append_images=[grey]),
        encoded(grey.convert("RGBA"), "PNG", exif=exif),
        encoded(grey.convert("P"), "PNG", transparency=3),
        encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        encoded(grey, "PNG", save_all=True, append_images=[grey.transpose(Image.Transpose.ROTATE_180)]),
        encoded(grey.convert("RGB"), "WEBP", exif=exif),
        encoded(grey.convert("RGBA"), "WEBP", save_all=True, append_images=[grey], lossless=True),
        *(encoded(grey, "TIFF", compression=c) for c in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        encoded(grey.convert("1"), "TIFF", compression="group4"),
        encoded(grey, "TIFF", save_all=True, append_images=[grey] * 3, tiffinfo={270: "text", 274: 6}),
        encoded(grey, "BMP"),
        encoded(grey.convert("P"), "BMP"),
    ]


SOUND = _sound()
LENGTHS = [
    struct.pack(f"{order}{kind}", value) for order in "<>" for kind, value in (("I", 2**32 - 1), ("I", 64), ("H", 0))
]


@st.composite
def damaged_pictures(draw: st.DrawFn) -> bytes:
    """A sound picture with bytes changed (in its head more often than not), lengths replaced, parts cut or repeated."""
    body = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, min(len(body), 200) - 1) | st.integers(0, len(body) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                piece = draw(st.sampled_from(LENGTHS))
                body[place : place + len(piece)] = piece
            case 1 if len(body) > place + 2:
                del body[place : place + draw(st.integers(1, 40))]
            case 2:
                body[place:place] = body[place : place + draw(st.integers(1, 200))]
            case _:
                body[place] = draw(st.integers(0, 255))
        if not body:
            break
    return bytes(body[: draw(st.integers(0, len(body)))]) if draw(st.integers(0, 9)) == 0 else bytes(body)


@given(damaged_pictures(), st.sampled_from(["", "?scale=0.5", "?scale=0.05"]))
def test_pictures(client: httpx.Client, body: bytes, query: str) -> None:
    judged("pictures", client.post(DETECT + query, content=body))


@given(
    st.lists(st.sampled_from(SOUND) | damaged_pictures(), min_size=1, max_size=2),
    mostly(b"", st.binary(max_size=60)),
    mostly("b", st.text('ab-x ";=', min_size=1, max_size=12)),
)
def test_forms(client: httpx.Client, files: list[bytes], tail: bytes, boundary: str) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="p"\r\n\r\n'
    body = b"".join(head + file + b"\r\n" for file in files) + tail + b"--b--\r\n"
    kind = f"multipart/form-data; boundary={boundary}".rstrip()
    judged("forms", client.post(DETECT, content=body, headers={"content-type": kind}))


HEADS = [
    b"POST /v1/models/sizes-linear/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /v2/models/sizes-linear/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET /v2/models/sizes-linear?deadline_ms=%31 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n",
    b"GET /%2e%2e/%00/v1/models/\xff HTTP/1.0\r\n\r\n",
]


@given(
    st.sampled_from(HEADS),
    st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=4)), max_size=4),
    st.booleans(),
)
def test_bytes_on_the_wire(client: httpx.Client, head: bytes, changes: list[tuple[int, bytes]], cut: bool) -> None:
    sent = bytearray(head)
    for place, piece in changes:
        sent[place : place + len(piece)] = piece
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), ANSWERED_S) as peer:
        peer.sendall(sent[: len(sent) // 2] if cut else sent)
        peer.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while b"\r\n\r\n" not in received and (data := peer.recv(65536)):
                received += data
        except ConnectionError:
            pass
    status = int(received.split()[1]) if received else 0
    STATUSES["bytes on the wire", status] += 1
    assert status in {0, 100, 200, 503} or 400 <= status < 500, received
    assert client.get("/v2/health/ready").status_code == 200
