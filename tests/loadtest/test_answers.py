"""What counts as an answer."""

import json

import pytest

from loadtest.answers import CAUSE_MAX, read_answer


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def test_a_prediction_is_an_answer_with_its_stages() -> None:
    reply = body({"predictions": [], "timings_ms": {"decode": 1, "infer": 2.5, "total": 3.5, "note": "warm"}})
    answer = read_answer(200, reply, "predictions")
    assert answer.error == ""
    assert answer.stages_ms == {"decode": 1.0, "infer": 2.5}


@pytest.mark.parametrize(
    "reply", [b"", b"null", b"[]", b"{}", b"\xff", body({"detections": []}), body({"predictions": 1})]
)
def test_a_2xx_reply_without_a_prediction_is_an_error(reply: bytes) -> None:
    assert read_answer(200, reply, "predictions").error == "status 200 without predictions"


@pytest.mark.parametrize(
    ("status", "reply", "error"),
    [
        (503, body({"code": "overloaded"}), "status 503 overloaded"),
        (400, body({"error": "no such tensor"}), "status 400 no such tensor"),
        (500, b"<html>", "status 500"),
        (302, body({"predictions": []}), "status 302"),
    ],
)
def test_any_other_status_is_an_error_with_its_cause(status: int, reply: bytes, error: str) -> None:
    assert read_answer(status, reply, "predictions").error == error


def test_a_long_cause_is_cut() -> None:
    assert len(read_answer(400, body({"error": "x" * 9999}), "predictions").error) == CAUSE_MAX
