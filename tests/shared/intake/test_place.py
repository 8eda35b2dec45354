"""A folder appears whole or not at all, whatever ends the work on it."""

import subprocess
import sys
from pathlib import Path

import pytest
from intake.errors import Refused
from intake.place import staged


def test_a_folder_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    with staged(tmp_path / "models", "one", replace=False) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("text")
        assert not (tmp_path / "models" / "one").exists()
    assert (tmp_path / "models" / "one" / "sub" / "file").read_text() == "text"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["one"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [Refused, OSError, KeyboardInterrupt])
def test_nothing_is_left_when_it_does_not(tmp_path: Path, error: type[BaseException], there: bool) -> None:
    models = tmp_path / "models"
    if there:
        models.mkdir()

    def fail() -> None:
        with staged(models, "one", replace=False) as folder:
            (folder / "file").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert models.exists() == there
    assert not there or list(models.iterdir()) == []


def test_one_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    def meet() -> None:
        with staged(tmp_path, "one", replace=False) as folder:
            (folder / "file").write_text("mine")
            (tmp_path / "one").mkdir()
            (tmp_path / "one" / "file").write_text("theirs")

    with pytest.raises(Refused, match="is there already"):
        meet()
    assert (tmp_path / "one" / "file").read_text() == "theirs"


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    with staged(tmp_path, "one", replace=False) as first, staged(tmp_path, "two", replace=False) as second:
        (first / "file").write_text("1")
        (second / "file").write_text("2")
    assert {path.name: (path / "file").read_text() for path in tmp_path.iterdir()} == {"one": "1", "two": "2"}


KILLED = """
import pathlib, sys, time
from intake.place import staged
with staged(pathlib.Path(sys.argv[1]), "one", replace=True) as folder:
    (folder / "model.toml").write_text("half")
    print("filled", flush=True)
    time.sleep(60)
"""


def test_a_process_that_is_killed_leaves_nothing_that_is_served(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "model.toml").write_text("old")
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"filled\n"
        process.kill()
    assert [path.read_text() for path in tmp_path.glob("*/model.toml")] == ["old"]
    with staged(tmp_path, "one", replace=True) as folder:
        (folder / "model.toml").write_text("new")
    assert [path.read_text() for path in tmp_path.glob("*/model.toml")] == ["new"]
