"""What every store must do (inference_jobs/store.py), held against each of them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from inference_jobs.store import Message, Store

CROWD = 6


def at_once(action: Callable[[], object]) -> list[object]:
    """What `action` returns to each of several threads that start together."""
    barrier = threading.Barrier(CROWD)

    def run(_: int) -> object:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(run, range(CROWD)))


def received(store: Store, queue: str, *, lease_s: float = 60.0, within_s: float = 20.0) -> Message:
    """The next message of the queue, waited for."""
    deadline = time.monotonic() + within_s
    while (message := store.receive(queue, lease_s=lease_s)) is None:
        assert time.monotonic() < deadline, "no message came"
        time.sleep(0.05)
    return message


def test_a_blob_comes_back_as_it_was_put(store: Store) -> None:
    store.put("inputs/a-0", b"\x00picture\xff")
    assert store.get("inputs/a-0") == b"\x00picture\xff"
    store.put("inputs/a-0", b"")
    assert store.get("inputs/a-0") == b""


def test_a_blob_that_is_not_there_is_none_and_may_be_deleted(store: Store) -> None:
    assert store.get("inputs/none") is None
    store.delete("inputs/none")
    store.put("inputs/b", b"x")
    store.delete("inputs/b")
    assert store.get("inputs/b") is None


def test_a_reader_never_sees_half_a_blob(store: Store) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    store.put("inputs/c", contents[0])
    done = threading.Event()
    seen: set[bytes | None] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(store.get("inputs/c"))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(20):
        store.put("inputs/c", contents[turn % 2])
    done.set()
    reader.join()
    assert seen <= set(contents)


def test_a_document_is_created_once(store: Store) -> None:
    assert store.read("jobs/a") is None
    assert sorted(map(bool, at_once(lambda: store.create("jobs/a", b"first")))) == [False] * (CROWD - 1) + [True]
    assert not store.create("jobs/a", b"second")
    document = store.read("jobs/a")
    assert document
    assert document.data == b"first"


def test_a_document_is_replaced_only_by_who_read_its_newest_version(store: Store) -> None:
    store.create("jobs/b", b"0")
    old = store.read("jobs/b")
    assert old
    assert sorted(map(bool, at_once(lambda: store.replace("jobs/b", b"1", old.version)))) == [False] * 5 + [True]
    assert not store.replace("jobs/b", b"2", old.version)
    new = store.read("jobs/b")
    assert new
    assert (new.data, new.version == old.version) == (b"1", False)
    assert store.replace("jobs/b", b"2", new.version)


def test_counting_by_compare_and_set_loses_no_count(store: Store) -> None:
    store.create("jobs/c", b"0")

    def count() -> None:
        while True:
            document = store.read("jobs/c")
            assert document
            if store.replace("jobs/c", str(int(document.data) + 1).encode(), document.version):
                return

    at_once(count)
    document = store.read("jobs/c")
    assert document
    assert document.data == str(CROWD).encode()


def test_a_removed_document_is_gone_and_cannot_be_replaced(store: Store) -> None:
    store.create("jobs/d", b"x")
    document = store.read("jobs/d")
    assert document
    store.remove("jobs/d")
    store.remove("jobs/d")
    assert store.read("jobs/d") is None
    assert not store.replace("jobs/d", b"y", document.version)


def test_documents_are_paged_in_the_order_of_their_keys(store: Store) -> None:
    keys = [f"jobs/{number:02}" for number in range(7)]
    for key in reversed(keys):
        store.create(key, b"x")
    store.create("keys/a", b"x")
    pages, token = [], None
    while True:
        page = store.page("jobs/", limit=3, token=token)
        pages.append(page.keys)
        if (token := page.token) is None:
            break
    assert pages == [keys[:3], keys[3:6], keys[6:]]
    assert store.page("none/", limit=3).keys == []


def test_a_token_that_no_page_gave_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="page"):
        store.page("jobs/", limit=3, token="somewhere else")  # noqa: S106


def test_messages_come_in_order_each_to_one_receiver(store: Store) -> None:
    for number in range(3):
        store.send("jobs", str(number).encode())
    messages = [message for message in at_once(lambda: store.receive("jobs", lease_s=60)) if message]
    assert sorted(message.data for message in messages if isinstance(message, Message)) == [b"0", b"1", b"2"]
    assert store.receive("jobs", lease_s=60) is None


def test_queues_do_not_mix(store: Store) -> None:
    store.send("jobs", b"job")
    assert store.receive("poison", lease_s=60) is None
    assert received(store, "jobs").data == b"job"


def test_an_acknowledged_message_is_gone(store: Store) -> None:
    store.send("jobs", b"x")
    message = received(store, "jobs", lease_s=1)
    assert store.acknowledge(message)
    assert not store.acknowledge(message)
    time.sleep(1.2)
    assert store.receive("jobs", lease_s=1) is None
    assert store.length("jobs") == 0


def test_when_the_lease_runs_out_somebody_else_gets_the_message_and_the_first_holds_it_no_longer(store: Store) -> None:
    store.send("jobs", b"x")
    first = received(store, "jobs", lease_s=1)
    second = received(store, "jobs", lease_s=60)
    assert (second.id, second.data) == (first.id, b"x")
    assert (first.deliveries, second.deliveries) == (1, 2)
    assert store.renew(first, lease_s=60) is None
    assert not store.acknowledge(first)
    assert store.acknowledge(second)


def test_a_renewed_lease_holds_longer(store: Store) -> None:
    store.send("jobs", b"x")
    message = received(store, "jobs", lease_s=2)
    renewed = store.renew(message, lease_s=60)
    assert renewed
    time.sleep(2.5)
    assert store.receive("jobs", lease_s=1) is None
    again = store.renew(renewed, lease_s=60)
    assert again
    assert store.acknowledge(again)


def test_a_lease_of_zero_hands_the_message_to_the_next(store: Store) -> None:
    store.send("jobs", b"x")
    assert store.renew(received(store, "jobs"), lease_s=0)
    assert received(store, "jobs", within_s=5).deliveries == 2


def test_a_delayed_message_waits(store: Store) -> None:
    store.send("jobs", b"x", delay_s=3)
    assert store.receive("jobs", lease_s=1) is None
    assert store.length("jobs") == 1
    assert received(store, "jobs").data == b"x"


def test_to_peek_leases_nothing(store: Store) -> None:
    for number in range(3):
        store.send("jobs", str(number).encode())
    assert store.peek("jobs", limit=2) == [b"0", b"1"]
    assert store.length("jobs") == 3
    first = received(store, "jobs")
    assert (first.data, first.deliveries) == (b"0", 1)
    assert store.peek("jobs", limit=9) == [b"1", b"2"]
