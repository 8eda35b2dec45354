"""How models are asked about and called, with the sync and the aio client against any tier."""

from typing import Any

import numpy as np
from tritonclient.http import InferRequestedOutput

from tests.conformance.callers import MODEL, OK, ROWS, Caller, feature, rows, same, tensor
from tests.conformance.models import DATATYPES
from tests.models import TILE_PX


@feature("health: live, ready")
async def _(call: Caller) -> None:
    assert await call("is_server_live")
    assert await call("is_server_ready")


@feature("model ready")
async def _(call: Caller) -> None:
    assert await call("is_model_ready", MODEL)
    assert await call("is_model_ready", MODEL, "1")
    assert not await call("is_model_ready", MODEL, "2")
    assert not await call("is_model_ready", "nothing")
    assert not await call("is_model_ready", "sizes"), "a family is no model"


@feature("server metadata")
async def _(call: Caller) -> None:
    server = await call("get_server_metadata")
    assert server["extensions"] == ["binary_tensor_data", "model_configuration", "statistics"]
    assert server["name"]
    assert server["version"]


@feature("model metadata")
async def _(call: Caller) -> None:
    found = await call("get_model_metadata", MODEL)
    assert found == await call("get_model_metadata", MODEL, "1")
    assert found["versions"] == ["1"]
    assert found["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 3]}]
    every = await call("get_model_metadata", "every-type")
    assert [each["datatype"] for each in every["inputs"]] == list(DATATYPES)


@feature("model config")
async def _(call: Caller) -> None:
    found = await call("get_model_config", MODEL)
    assert found == await call("get_model_config", MODEL, "1")
    assert (found["name"], found["max_batch_size"]) == (MODEL, 0)
    assert found["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": [-1, 3]}]


@feature("statistics move")
async def _(call: Caller) -> None:
    async def read(*which: str) -> dict[str, Any]:
        found: dict[str, Any] = (await call("get_inference_statistics", *which))["model_stats"][0]
        return found

    before = await read(MODEL)
    for _ in range(3):
        await call.infer(MODEL, rows())
    await call.refused("infer", MODEL, [tensor("input", ROWS[:, :2])])
    after = await read(MODEL, "1")
    assert after["inference_count"] == before["inference_count"] + 3
    spent = {
        part: after["inference_stats"][part]["ns"] - each["ns"] for part, each in before["inference_stats"].items()
    }
    assert spent["success"] >= spent["compute_input"] + spent["compute_infer"] + spent["compute_output"] - 3
    assert spent["compute_infer"] > 0
    assert after["inference_stats"]["fail"]["count"] == before["inference_stats"]["fail"]["count"] + 1
    every = (await call("get_inference_statistics"))["model_stats"]
    assert MODEL in [each["name"] for each in every]


@feature("infer: binary and JSON, in and out")
async def _(call: Caller) -> None:
    for sent in (True, False):
        for wanted in (True, False):
            outputs = [InferRequestedOutput(name, binary_data=wanted) for name in ("label", "probabilities")]
            reply = await call.infer(MODEL, rows(binary=sent), outputs=outputs)
            assert reply.as_numpy("label").tolist() == [0, 1, 0]
            assert reply.as_numpy("probabilities").shape == (3, 2)
            assert ("data" in reply.get_output("label")) is not wanted


@feature("infer: mixed inputs and outputs")
async def _(call: Caller) -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((3, 4), np.float32)
    for first in (True, False):
        inputs = [tensor("b", b, binary=not first), tensor("a", a, binary=first)]
        same((await call.infer("product", inputs)).as_numpy("product"), a @ b)
    outputs = [InferRequestedOutput("label", binary_data=False), InferRequestedOutput("probabilities")]
    reply = await call.infer(MODEL, rows(), outputs=outputs)
    assert reply.as_numpy("label").tolist() == [0, 1, 0]
    assert reply.as_numpy("probabilities").shape == (3, 2)


@feature("infer: requested outputs only")
async def _(call: Caller) -> None:
    reply = await call.infer(MODEL, rows(), outputs=[InferRequestedOutput("probabilities")])
    assert [each["name"] for each in reply.get_response()["outputs"]] == ["probabilities"]
    assert reply.as_numpy("label") is None
    assert len((await call.infer(MODEL, rows())).get_response()["outputs"]) == 2


@feature("infer: version, request id")
async def _(call: Caller) -> None:
    reply = (await call.infer(MODEL, rows(), model_version="1", request_id="né-7")).get_response()
    assert (reply["model_name"], reply["model_version"], reply["id"]) == (MODEL, "1", "né-7")
    assert "id" not in (await call.infer(MODEL, rows())).get_response()


@feature("infer: gzip, deflate")
async def _(call: Caller) -> None:
    for algorithm in ("gzip", "deflate"):
        for binary in (True, False):
            options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
            reply = await call.infer(MODEL, rows(binary=binary), **options)
            assert reply.as_numpy("label").tolist() == [0, 1, 0]


@feature("infer: parameters without a meaning here")
async def _(call: Caller) -> None:
    options = {"timeout": 5_000_000, "priority": 2, "parameters": {"own": "value"}, "headers": {"X-Unknown": "1"}}
    reply = await call.infer(MODEL, rows(), sequence_id=7, sequence_start=True, sequence_end=True, **options)
    assert reply.as_numpy("label").tolist() == [0, 1, 0]


@feature("infer: tiles of a picture model")
async def _(call: Caller) -> str:
    tiles = np.zeros((2, 1, TILE_PX, TILE_PX), np.uint8)
    tiles[1, 0, :16, :16] = 255
    if call.tier == "function":
        status, _ = await call.refused("infer", "squares-n", [tensor("images", tiles)])
        assert status == "404"
        return status
    found = (await call.infer("squares-n", [tensor("images", tiles)])).as_numpy("output0")
    assert found.shape == (2, 5, 16)
    assert found[:, 4].sum() == found[1, 4, 0] == 1
    return OK
