"""The Open Inference Protocol on the wire, document by document, over real sessions."""

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from inference_core import wire
from inference_core.errors import InvalidTensor, TooLarge
from inference_core.session import Session
from onnx import TensorProto, helper

from tests.models import tabular_model

ROWS = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session((tabular_model(tmp_path_factory.mktemp("m")) / "model.onnx").read_bytes(), threads=1)


def identity(onnx_type: int, shape: list[Any] | None, names: tuple[str, ...] = ("x",)) -> Session:
    """A model that hands each input on as `<name>_out`."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names],
        "identity",
        [helper.make_tensor_value_info(name, onnx_type, shape) for name in names],
        [helper.make_tensor_value_info(f"{name}_out", onnx_type, shape) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Session(model.SerializeToString(), threads=1)


def framed(document: dict[str, Any], *raw: bytes) -> tuple[bytes, int]:
    text = json.dumps(document).encode()
    return b"".join([text, *raw]), len(text)


def call(session: Session, body: bytes, json_length: int | None = None) -> tuple[dict[str, Any], bytes]:
    """The reply's document and its binary part."""
    request = wire.read_request(body, json_length, session, elements_max=1000)
    reply = wire.write_reply("m", request, wire.infer(request, session), session)
    length = len(reply.body) if reply.json_length is None else reply.json_length
    return json.loads(reply.body[:length]), reply.body[length:]


def row_input(**changes: Any) -> dict[str, Any]:
    return {"name": "input", "datatype": "FP32", "shape": [2, 3], "data": ROWS} | changes


def test_a_json_call_is_answered_in_json(session: Session) -> None:
    reply, rest = call(session, json.dumps({"id": "7", "inputs": [row_input()]}).encode())
    assert rest == b""
    assert reply["model_name"] == "m"
    assert reply["model_version"] == "1"
    assert reply["id"] == "7"
    label, probabilities = reply["outputs"]
    assert label == {"name": "label", "shape": [2], "datatype": "INT64", "data": [0, 1]}
    assert probabilities["shape"] == [2, 2]
    assert len(probabilities["data"]) == 4


def test_binary_comes_in_and_goes_out(session: Session) -> None:
    raw = np.array(ROWS, "<f4").tobytes()
    entry = row_input(parameters={"binary_data_size": len(raw)})
    del entry["data"]
    body, length = framed({"inputs": [entry], "parameters": {"binary_data_output": True}}, raw)
    reply, rest = call(session, body, length)
    sizes = [output["parameters"]["binary_data_size"] for output in reply["outputs"]]
    assert sizes == [16, 16]
    assert np.frombuffer(rest[:16], "<i8").tolist() == [0, 1]
    assert all("data" not in output for output in reply["outputs"])


def test_an_output_may_differ_from_the_rest_in_form(session: Session) -> None:
    outputs = [{"name": "probabilities"}, {"name": "label", "parameters": {"binary_data": True}}]
    reply, rest = call(session, json.dumps({"inputs": [row_input()], "outputs": outputs}).encode())
    assert [output["name"] for output in reply["outputs"]] == ["probabilities", "label"]
    assert "data" in reply["outputs"][0]
    assert len(rest) == 16


def test_json_and_binary_inputs_may_be_mixed() -> None:
    model = identity(TensorProto.INT32, ["n"], ("a", "b", "c"))
    inputs = [
        {"name": "a", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": 4}},
        {"name": "b", "datatype": "INT32", "shape": [2], "data": [5, 6]},
        {"name": "c", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}},
    ]
    body, length = framed({"inputs": inputs}, b"\x07\x00\x00\x00", b"\x08\x00\x00\x00\x09\x00\x00\x00")
    reply, _ = call(model, body, length)
    assert [output["data"] for output in reply["outputs"]] == [[7], [5, 6], [8, 9]]


def test_a_raw_body_is_the_one_input_and_everything_comes_back_binary(session: Session) -> None:
    reply, rest = call(session, np.array(ROWS, "<f4").tobytes(), 0)
    assert [output["shape"] for output in reply["outputs"]] == [[2], [2, 2]]
    assert len(rest) == 32


def test_a_raw_text_is_one_element() -> None:
    reply, rest = call(identity(TensorProto.STRING, ["n"]), "né".encode(), 0)
    assert reply["outputs"][0]["shape"] == [1]
    assert rest == b"\x03\x00\x00\x00n\xc3\xa9"


def test_texts_go_through_a_model() -> None:
    inputs = [{"name": "x", "datatype": "BYTES", "shape": [2], "data": ["a", ""]}]
    reply, _ = call(identity(TensorProto.STRING, ["n"]), json.dumps({"inputs": inputs}).encode())
    assert reply["outputs"][0]["data"] == ["a", ""]


def test_unknown_parameters_are_ignored(session: Session) -> None:
    document = {"inputs": [row_input(parameters={"shared": 1})], "parameters": {"priority": 3, "timeout": 5000}}
    assert len(call(session, json.dumps(document).encode())[0]["outputs"]) == 2


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "no JSON object"),
        ({}, '"inputs" is not a list'),
        ({"inputs": [3]}, '"inputs" is not a list of objects'),
        ({"inputs": []}, 'Input "input" is missing'),
        ({"inputs": [row_input(name="other")]}, "no input 'other'; it has input"),
        ({"inputs": [row_input(name=3)]}, "no input 3"),
        ({"inputs": [row_input(), row_input()]}, "given twice"),
        ({"inputs": [row_input(datatype="FP64")]}, "is FP32, not 'FP64'"),
        ({"inputs": [row_input(shape=[2])]}, r"shape \[2\] does not fit the model's \[-1, 3\]"),
        ({"inputs": [row_input(shape=[3, 2])]}, "does not fit"),
        ({"inputs": [row_input(shape=[-1, 3])]}, "whole numbers from 0 on"),
        ({"inputs": [row_input(shape="2,3")]}, "whole numbers from 0 on"),
        ({"inputs": [row_input(shape=[2.0, 3])]}, "whole numbers from 0 on"),
        ({"inputs": [row_input(parameters=[1])]}, '"parameters" is not an object'),
        ({"inputs": [row_input(parameters={"binary_data_size": 24})]}, "binary_data_size is 24, 0 bytes are left"),
        ({"inputs": [row_input(parameters={"binary_data_size": -1})]}, "binary_data_size is -1"),
        ({"inputs": [row_input()], "outputs": [{"name": "odds"}]}, "no output 'odds'"),
        ({"inputs": [row_input()], "outputs": [{"name": "label"}, {"name": "label"}]}, "given twice"),
        ({"inputs": [row_input()], "parameters": {"binary_data_output": "yes"}}, "neither true nor false"),
        ({"inputs": [row_input()], "id": 7}, '"id" is not a text'),
        ({"inputs": [row_input()], "id": "\ud800"}, '"id" is not a text'),
    ],
)
def test_a_contradiction_is_refused_in_words(session: Session, document: Any, complaint: str) -> None:
    with pytest.raises(InvalidTensor, match=complaint):
        call(session, json.dumps(document).encode())


def test_a_refusal_does_not_send_a_long_value_back(session: Session) -> None:
    with pytest.raises(InvalidTensor) as refused:
        call(session, json.dumps({"inputs": [row_input(name="n" * 5000)]}).encode())
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize(("text", "length"), [(None, None), ("0", 0), ("17", 17), ("017", 17)])
def test_the_length_header_is_a_number_or_absent(text: str | None, length: int | None) -> None:
    assert wire.read_length(text) == length


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", " 7", "seven", "٣", "9" * 5000])
def test_a_length_header_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidTensor, match=wire.LENGTH_HEADER):
        wire.read_length(text)


@pytest.mark.parametrize(("length", "complaint"), [(1000, "is 1000, the body has"), (-1, "is -1"), (5, "not JSON")])
def test_a_wrong_length_header_is_refused(session: Session, length: int, complaint: str) -> None:
    with pytest.raises(InvalidTensor, match=complaint):
        call(session, json.dumps({"inputs": [row_input()]}).encode(), length)


def test_bytes_that_no_input_claims_are_refused(session: Session) -> None:
    body, length = framed({"inputs": [row_input()]}, b"extra")
    with pytest.raises(InvalidTensor, match="5 bytes follow"):
        call(session, body, length)


def test_more_elements_than_the_limit_are_refused_before_they_are_read(session: Session) -> None:
    with pytest.raises(TooLarge, match="more elements than the limit of 1000"):
        call(session, json.dumps({"inputs": [row_input(shape=[10**30, 3])]}).encode())


def test_values_that_the_model_refuses_are_the_callers_fault_and_no_path_leaks() -> None:
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["out"])],
        "gather",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor("table", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = Session(model.SerializeToString(), threads=1)
    inputs = [{"name": "i", "datatype": "INT64", "shape": [1], "data": [9]}]
    with pytest.raises(InvalidTensor) as refused:
        call(session, json.dumps({"inputs": inputs}).encode())
    assert "out of data bounds" in refused.value.detail
    assert "/onnxruntime" not in refused.value.detail


def test_metadata_and_config_agree_on_the_tensors(session: Session) -> None:
    described, configured = wire.metadata("m", session), wire.config("m", session)
    assert described["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 3]}]
    assert configured["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": [-1, 3]}]
    assert [o["name"] for o in described["outputs"]] == [o["name"] for o in configured["output"]]
    assert configured["max_batch_size"] == 0


def test_a_binary_tensor_is_read_where_it_lies() -> None:
    inputs = [{"name": "x", "datatype": "UINT8", "shape": [64], "parameters": {"binary_data_size": 64}}]
    body, length = framed({"inputs": inputs}, bytes(64))
    request = wire.read_request(body, length, identity(TensorProto.UINT8, ["n"]), elements_max=1000)
    assert np.shares_memory(request.feeds["x"], np.frombuffer(body, np.uint8))


@pytest.mark.parametrize("shape", [[], [0], [2, 3], [1, 1, 1, 2]])
def test_an_input_of_unknown_rank_takes_any_shape(shape: list[int]) -> None:
    data = list(range(int(np.prod(shape))))
    inputs = [{"name": "x", "datatype": "INT64", "shape": shape, "data": data}]
    reply, _ = call(identity(TensorProto.INT64, None), json.dumps({"inputs": inputs}).encode())
    assert (reply["outputs"][0]["shape"], reply["outputs"][0]["data"]) == (shape, data)


def test_an_output_that_is_not_carried_is_refused_before_the_model_runs() -> None:
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["brain"], to=TensorProto.BFLOAT16), helper.make_node("Neg", ["x"], ["less"])],
        "brain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor_value_info("brain", TensorProto.BFLOAT16, ["n"]),
            helper.make_tensor_value_info("less", TensorProto.FLOAT, ["n"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = Session(model.SerializeToString(), threads=1)
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    for outputs in ([], [{"name": "brain"}]):
        with pytest.raises(InvalidTensor, match=r'"brain" is a tensor\(bfloat16\), which is not carried'):
            wire.read_request(json.dumps(document | {"outputs": outputs}).encode(), None, session, elements_max=9)
    reply, _ = call(session, json.dumps(document | {"outputs": [{"name": "less"}]}).encode())
    assert reply["outputs"][0]["data"] == [-1]
    assert wire.metadata("m", session)["outputs"][0]["datatype"] == "tensor(bfloat16)"
    assert wire.config("m", session)["output"][0]["data_type"] == "TYPE_INVALID"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=8,
)


@hypothesis_settings(max_examples=400)
@given(
    changes=st.dictionaries(
        st.sampled_from(["name", "datatype", "shape", "data", "parameters"]),
        JSON_VALUES | st.fixed_dictionaries({"binary_data_size": st.integers(-5, 50)}),
        max_size=3,
    ),
    rest=st.binary(max_size=40),
    shift=st.integers(-3, 3) | st.none(),
)
def test_nothing_in_a_frame_raises_anything_but_a_refusal(
    session: Session, changes: dict[str, Any], rest: bytes, shift: int | None
) -> None:
    body, length = framed({"inputs": [row_input(**changes)]}, rest)
    with suppress(InvalidTensor, TooLarge):
        call(session, body, None if shift is None else length + shift)


@given(st.binary(max_size=64))
def test_no_raw_body_raises_anything_but_a_refusal(session: Session, body: bytes) -> None:
    with suppress(InvalidTensor):
        call(session, body, 0)
