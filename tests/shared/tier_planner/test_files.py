"""A file that cannot be read is named with the reason; one that is written is never half there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tier_planner.files import read_json, read_toml, write_json
from tier_planner.tables import TableError


@pytest.mark.parametrize(("read", "good"), [(read_json, b'{"a": 1}'), (read_toml, b"a = 1")])
def test_what_cannot_be_read_is_named(tmp_path: Path, read: Callable[[Path], Any], good: bytes) -> None:
    path = tmp_path / "file"
    with pytest.raises(TableError, match=r"file: No such file or directory"):
        read(path)
    for bad in (b"{", b"\xff"):
        path.write_bytes(bad)
        with pytest.raises(TableError, match=rf"{path}: "):
            read(path)
    path.write_bytes(good)
    assert read(path) == {"a": 1}


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]
