"""Who may call: keys from the settings, several at a time so that they can be exchanged without a gap."""

import hmac
from collections.abc import Iterable, Mapping
from pathlib import Path

from inference_core.errors import SettingsError, Unauthorized

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""Probes carry no key, and learn nothing but a status."""
_CHARS_MIN = 16
_BEARER = b"bearer "


def read_keys(values: Iterable[str]) -> list[bytes]:
    """The keys that `values` are, or that stand in the files which `@/path` names, one a line.

    Raises SettingsError for a file that cannot be read, for none in a file, and for a key too short to withstand
    guessing or with characters that no header can carry; it never says the key.
    """
    keys = [key for value in values for key in (_in_file(value[1:]) if value.startswith("@") else [value])]
    for key in keys:
        if len(key) < _CHARS_MIN or not (key.isascii() and key.isprintable() and " " not in key):
            raise SettingsError(
                f"INFERENCE_API_KEYS holds a key that is shorter than {_CHARS_MIN} characters or not plain ASCII; "
                "`openssl rand -hex 32` makes a good one."
            )
    return [key.encode() for key in keys]


def _in_file(name: str) -> list[str]:
    try:
        lines = Path(name).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"INFERENCE_API_KEYS names {name!r}, which cannot be read: {error}.") from None
    if not lines:
        raise SettingsError(f"INFERENCE_API_KEYS names {name!r}, which holds no key.")
    return lines


class Keys:
    """The keys of one service; with none, every request is let in."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = list(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def require(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Raise Unauthorized unless `path` is open or a header carries one of the keys.

        Each key is compared with, to the end of it: the time taken tells neither how much of a guess was right nor
        which key it came near to (it may tell how long they are, which is no secret).
        """
        if path in OPEN_PATHS:
            return
        given, matches = _given(headers), 0
        for key in self._keys:
            matches += hmac.compare_digest(given, key)
        if not matches:
            raise Unauthorized("Send a key of this service as `x-api-key` or as `Authorization: Bearer`.")


def _given(headers: Mapping[bytes, bytes]) -> bytes:
    if key := headers.get(b"x-api-key"):
        return key
    value = headers.get(b"authorization", b"")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else b""
