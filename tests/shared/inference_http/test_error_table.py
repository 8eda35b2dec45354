"""The table of errors in the docs is the list of errors in the code."""

import re
from collections.abc import Iterator

from inference_core import errors
from inference_core.errors import InferenceError
from inference_core.settings import Settings

from tests.conftest import PROJECT

README = PROJECT / "shared" / "inference_http" / "README.md"
ROW = re.compile(r"^\| (\d{3}) \| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def kinds(base: type[InferenceError] = InferenceError) -> Iterator[type[InferenceError]]:
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from kinds(kind)


def test_every_error_stands_in_the_table_with_its_status() -> None:
    table = {(int(status), code) for status, code, _, _ in ROW.findall(README.read_text())}
    assert table == {(kind.status, kind.code) for kind in kinds()}


def test_each_says_what_it_means_and_what_to_do() -> None:
    for _, code, meaning, remedy in ROW.findall(README.read_text()):
        assert meaning.endswith("."), code
        assert remedy.endswith("."), code


def test_codes_are_one_each() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(codes) == len(set(codes))


def test_every_limit_stands_in_the_table_of_limits() -> None:
    text = README.read_text()
    limits = [name for name in Settings.__dataclass_fields__ if name.endswith("_max")]
    assert [name for name in limits if f"`{name.upper()}`" not in text] == []
