"""Who may call, where keys are set: whoever carries one of them, and every probe."""

import logging
from pathlib import Path

import httpx
import pytest
from inference_core.errors import SettingsError, Unauthorized
from inference_core.settings import Settings, read_settings
from inference_http.keys import Keys, read_keys

from tests.entry import ended, started
from tests.shared.inference_http.conftest import ClientOf

OLD, NEW = "old-" + "a" * 20, "new-" + "b" * 20
TABULAR = "/v1/models/sizes-linear/predict"
ROWS = {"rows": [{"length": 1, "width": 1, "weight": 1}]}


@pytest.fixture
def guarded(client_of: ClientOf) -> httpx.Client:
    return client_of(api_keys=(OLD, NEW))


@pytest.mark.parametrize("key", [OLD, NEW])
@pytest.mark.parametrize("header", ["x-api-key: {}", "authorization: Bearer {}", "Authorization: bearer {}"])
def test_each_key_opens_the_service_in_each_header(guarded: httpx.Client, header: str, key: str) -> None:
    name, _, value = header.format(key).partition(": ")
    assert guarded.post(TABULAR, json=ROWS, headers={name: value}).status_code == 200
    assert guarded.get("/v2", headers={name: value}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", TABULAR, "/metrics", "/docs", "/openapi.json", "/", "/nothing"])
def test_without_a_key_every_route_is_401_in_shape(guarded: httpx.Client, path: str) -> None:
    reply = guarded.get(path)
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v2", "/v2/models/sizes-linear", "/v2/health/live/x", "/v2/health/../models/stats"])
def test_on_v2_the_refusal_is_one_text(guarded: httpx.Client, path: str) -> None:
    reply = guarded.get(path)
    assert reply.status_code == 401
    assert "x-api-key" in reply.json()["error"]


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_key(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": ""},
        {"x-api-key": OLD[:-1]},
        {"x-api-key": OLD + "a"},
        {"x-api-key": f"{OLD},{NEW}"},
        {"authorization": OLD},
        {"authorization": f"Basic {OLD}"},
        {"authorization": "Bearer"},
    ],
)
def test_what_is_nearly_a_key_opens_nothing(guarded: httpx.Client, headers: dict[str, str]) -> None:
    assert guarded.get("/v2", headers=headers).status_code == 401


def test_a_body_without_a_key_is_never_read(guarded: httpx.Client) -> None:
    reply = guarded.post(TABULAR, content=b"x" * 1_000_000)
    assert reply.status_code == 401


def test_without_keys_nothing_is_asked_for(client: httpx.Client) -> None:
    assert client.get("/v2").status_code == 200


def test_a_file_holds_a_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{OLD}\n\n{NEW}\n")
    assert read_keys([f"@{file}", "c" * 16]) == [OLD.encode(), NEW.encode(), b"c" * 16]


@pytest.mark.parametrize("values", [["hunter2"], ["x" * 15], ["a b" * 9], ["ä" * 20], ["@nowhere"], ["@"]])
def test_a_key_that_cannot_serve_stops_the_start_and_is_not_said(values: list[str]) -> None:
    with pytest.raises(SettingsError, match="INFERENCE_API_KEYS") as error:
        read_keys(values)
    assert values[0].startswith("@") or values[0] not in str(error.value)


def test_an_empty_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    with pytest.raises(SettingsError, match="holds no key"):
        read_keys([f"@{tmp_path / 'keys'}"])


def test_settings_do_not_show_their_keys() -> None:
    settings = read_settings({"INFERENCE_API_KEYS": f"{OLD}, {NEW}"})
    assert settings.api_keys == (OLD, NEW)
    assert OLD not in repr(settings)


def test_every_key_is_compared_with() -> None:
    """The last key opens as the first does, also beside one that it resembles."""
    keys = Keys(key.encode() for key in (OLD, NEW, OLD[:-1] + "z"))
    for key in (OLD, NEW, OLD[:-1] + "z"):
        keys.require("/v1/models", {b"x-api-key": key.encode()})
    with pytest.raises(Unauthorized):
        keys.require("/v1/models", {b"x-api-key": b"z" * 24})


def test_no_key_stands_in_the_log(client_of: ClientOf, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = client_of(api_keys=(OLD,))
    for key in (OLD, "guess-of-a-stranger"):
        client.get("/v1/models", headers={"x-api-key": key})
        client.get("/v1/nothing", headers={"authorization": f"Bearer {key}"})
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("inference")]
    assert not [line for line in logged if OLD in line or "guess" in line]


@pytest.mark.parametrize(
    ("host", "keys", "warned"),
    [("127.0.0.1", "", False), ("0.0.0.0", "", True), ("0.0.0.0", OLD, False)],  # noqa: S104 (what is warned of)
)
def test_an_address_that_others_reach_is_warned_of_when_no_key_is_set(
    models_dir: Path, tmp_path: Path, host: str, keys: str, warned: bool
) -> None:
    settings: dict[str, str | Path] = {"INFERENCE_MODELS_DIR": models_dir, "INFERENCE_API_KEYS": keys}
    with started("image_api.main", tmp_path / "log", settings, "--host", host) as tier:
        assert tier.client.get("/v1/models").status_code == (401 if keys else 200)
        assert ("INFERENCE_API_KEYS is empty" in tier.log.read_text()) == warned


def test_a_bad_key_is_one_sentence_and_status_2(models_dir: Path) -> None:
    end = ended("image_api.main", {"INFERENCE_MODELS_DIR": models_dir, "INFERENCE_API_KEYS": "hunter2"})
    assert end.returncode == 2
    assert end.stderr.startswith("error: INFERENCE_API_KEYS")
    assert len(end.stderr.splitlines()) == 1
    assert "hunter2" not in end.stderr


def test_the_default_is_no_key_and_loopback() -> None:
    assert Settings().api_keys == ()
