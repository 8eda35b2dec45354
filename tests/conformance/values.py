"""What tensors can hold, and what is refused, with the sync and the aio client against any tier."""

import json
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.http
from tritonclient.http import InferInput, InferRequestedOutput

from tests.conformance.callers import MODEL, OK, ROWS, Caller, feature, rows, same, samples, tensor, texts
from tests.conformance.models import DATATYPES


@feature("every datatype")
async def _(call: Caller) -> None:
    for binary in (True, False):
        sent = {kind: samples(kind) for kind in DATATYPES}
        inputs = [tensor(f"in-{kind}", sent[kind], binary=binary) for kind in DATATYPES]
        outputs = [InferRequestedOutput(f"out-{kind}", binary_data=binary) for kind in DATATYPES]
        reply = await call.infer("every-type", inputs, outputs=outputs)
        for kind, array in sent.items():
            same(reply.as_numpy(f"out-{kind}"), array)


@feature("NaN and infinities, binary and JSON out")
async def _(call: Caller) -> None:
    a = np.array([[np.nan, np.inf, -np.inf]], np.float32).T
    for binary in (True, False):
        outputs = [InferRequestedOutput("product", binary_data=binary)]
        reply = await call.infer("product", [tensor("a", a), tensor("b", np.ones((1, 1), np.float32))], outputs=outputs)
        assert np.array_equal(reply.as_numpy("product"), a, equal_nan=True)


@feature("empty tensors, scalars, any rank")
async def _(call: Caller) -> None:
    for binary in (True, False):
        for shape in ((0,), (2, 0, 3), (), (1,), (2, 1, 2, 1)):
            sent = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
            outputs = [InferRequestedOutput("y", binary_data=binary)]
            reply = await call.infer("any-rank", [tensor("x", sent, binary=binary)], outputs=outputs)
            assert reply.get_output("y")["shape"] == list(shape)
            if sent.size:
                same(reply.as_numpy("y"), sent)


@feature("a body of 8 MB each way")
async def _(call: Caller) -> None:
    sent = np.random.default_rng(7).integers(0, 256, (8, 1 << 20), np.uint8)
    same((await call.infer("any-rank", [tensor("x", sent)])).as_numpy("y"), sent)


@feature("texts")
async def _(call: Caller) -> None:
    a = np.array(["é", b"plain", ""], object)
    for binary in (True, False):
        b = np.array(["🙂", "x", ""], object)
        given = a if binary else np.array(["é", "plain", ""], object)
        reply = await call.infer("joined", [tensor("a", given, binary=binary), tensor("b", b, binary=binary)])
        assert texts(reply.as_numpy("joined")) == ["é🙂", "plainx", ""]


@feature("sequences and maps as documents")
async def _(call: Caller) -> None:
    for binary in (True, False):
        outputs = [InferRequestedOutput(name, binary_data=binary) for name in ("maps", "rows", "y")]
        sent = np.array([[0.25, 0.75], [1, 0]], np.float32)
        reply = await call.infer("maps", [tensor("x", sent)], outputs=outputs)
        assert [json.loads(text) for text in texts(reply.as_numpy("maps"))] == [
            {"no": 0.25, "yes": 0.75},
            {"no": 1.0, "yes": 0.0},
        ]
        assert [json.loads(text) for text in texts(reply.as_numpy("rows"))] == [
            {"datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
            {"datatype": "FP32", "shape": [1, 2], "data": [1.0, 0.0]},
        ]
        same(reply.as_numpy("y"), sent)


@feature("BF16 is refused by name")
async def _(call: Caller) -> None:
    given = tensor("x", np.ones(2, ml_dtypes.bfloat16))
    status, message = await call.refused("infer", "brain-input", [given])
    assert status == "400"
    assert '"x" is a tensor(bfloat16), which is not carried' in message
    values = [tensor("x", np.ones(2, np.float32))]
    status, message = await call.refused("infer", "brain-output", values)
    assert status == "400"
    assert '"brain" is a tensor(bfloat16)' in message
    reply = await call.infer("brain-output", values, outputs=[InferRequestedOutput("negated")])
    assert reply.as_numpy("negated").tolist() == [-1, -1]
    for name in ("brain-input", "brain-output"):
        assert await call("get_model_metadata", name)
        assert await call("get_model_config", name)


@feature("errors can be read")
async def _(call: Caller) -> None:
    wrong: list[tuple[str, list[InferInput], dict[str, Any], str, str]] = [
        ("nothing", rows(), {}, "404", "nothing"),
        (MODEL, rows(), {"model_version": "2"}, "404", "version 2"),
        (MODEL, [tensor("input", ROWS[:, :2])], {}, "400", "shape [3, 2]"),
        (MODEL, [tensor("input", ROWS.astype(np.float64))], {}, "400", "FP32, not 'FP64'"),
        (MODEL, [tensor("other", ROWS)], {}, "400", "no input 'other'"),
        (MODEL, [], {}, "400", '"input" is missing'),
        (MODEL, rows(), {"outputs": [InferRequestedOutput("odds")]}, "400", "no output 'odds'"),
        ("gather", [tensor("i", np.array([9]))], {}, "400", "out of data bounds"),
    ]
    for model, inputs, options, status, words in wrong:
        found, message = await call.refused("infer", model, inputs, **options)
        assert found == status, message
        assert words in message, message
    for method in ("get_model_metadata", "get_model_config", "get_inference_statistics"):
        status, message = await call.refused(method, "nothing")
        assert status == "404"
        assert "nothing" in message


@feature("too little memory is not the caller's fault")
async def _(call: Caller) -> None:
    status, message = await call.refused("infer", "filled", [tensor("shape", np.array([1 << 45]))])
    assert status == "503"
    assert "memory" in message
    assert (await call.infer("filled", [tensor("shape", np.array([3]))])).as_numpy("zeros").tolist() == [0, 0, 0]


@feature("request bodies made and replies read apart")
async def _(call: Caller) -> None:
    client = tritonclient.http.InferenceServerClient
    body, length = client.generate_request_body(rows(), outputs=[InferRequestedOutput("label")], request_id="7")
    assert 0 < length < len(body)
    reply = await call.infer(MODEL, rows(), outputs=[InferRequestedOutput("label")], request_id="7")
    text = json.dumps(reply.get_response()).encode()
    raw = reply.as_numpy("label").tobytes()
    again = client.parse_response_body(text + raw, header_length=len(text))
    assert again.as_numpy("label").tolist() == [0, 1, 0]


@feature("async_infer")
async def _(call: Caller) -> str:
    if call.kind == "aio":
        return "-"  # it has no such call: every call of its is one
    waiting = [await call("async_infer", MODEL, rows()) for _ in range(4)]
    assert [each.get_result().as_numpy("label").tolist() for each in waiting] == [[0, 1, 0]] * 4
    return OK


@feature("what is not served says so")
async def _(call: Caller) -> None:
    for method, arguments in (
        ("get_model_repository_index", ()),
        ("load_model", (MODEL,)),
        ("unload_model", (MODEL,)),
        ("get_trace_settings", ()),
        ("get_log_settings", ()),
        ("get_system_shared_memory_status", ()),
        ("get_cuda_shared_memory_status", ()),
    ):
        status, message = await call.refused(method, *arguments)
        assert status == "404", f"{method}: {status}"
        assert "Nothing is served" in message
