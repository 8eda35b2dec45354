"""Memory that two processes see."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gpu_api.shared_memory import SharedMemory, new_memory

Sides = tuple[SharedMemory, SharedMemory]


@pytest.fixture
def sides() -> Iterator[Sides]:
    ours = new_memory()
    theirs = SharedMemory(os.dup(ours.fd))
    yield ours, theirs
    ours.close()
    theirs.close()


def test_either_side_reads_what_the_other_wrote(sides: Sides) -> None:
    ours, theirs = sides
    ours.put_bytes(b"picture")
    assert theirs.array((7,), np.uint8).tobytes() == b"picture"
    theirs.put(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert ours.array((2, 3), np.float32).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_it_grows_to_what_is_put_into_it_whichever_side_does(sides: Sides) -> None:
    ours, theirs = sides
    for size, (writer, reader) in zip((10, 100_000, 50, 3_000_000), [(ours, theirs), (theirs, ours)] * 2, strict=True):
        writer.put(np.full(size, size % 251, np.uint8))
        assert set(reader.array((size,), np.uint8).tolist()) == {size % 251}


def test_an_array_stays_good_when_the_memory_grows_or_is_let_go(sides: Sides) -> None:
    ours, _ = sides
    ours.put(np.full(10, 7, np.uint8))
    early = ours.array((10,), np.uint8)
    ours.array((10_000_000,), np.uint8)
    ours.close()
    assert early.tolist() == [7] * 10


def test_it_knows_an_array_that_lies_in_it_already(sides: Sides) -> None:
    ours, _ = sides
    cut = ours.array((4, 6, 6, 1), np.uint8)
    assert ours.holds(cut)
    assert ours.holds(cut[:2].transpose(0, 3, 1, 2)), "one channel is the same bytes in either layout"
    assert not ours.holds(cut[1:])
    assert not ours.holds(cut[:, ::2])
    assert not ours.holds(cut.copy())


def test_a_size_that_the_system_refuses_is_a_lack_of_memory(sides: Sides) -> None:
    ours, _ = sides
    with pytest.raises(MemoryError, match="to share with another process"):
        ours.array((1 << 62,), np.uint8)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has files for it only")
def test_it_is_no_file_of_the_64_megabytes_that_a_container_has_for_named_memory(sides: Sides) -> None:
    assert Path(f"/proc/self/fd/{sides[0].fd}").readlink().parts[1].startswith("memfd:")
