"""A measurement in words: its table, its laws, and what they do not show."""

from dataclasses import replace

import pytest
from tier_measure.laws_text import laws_document, laws_text
from tier_measure.tables import markdown_table, quiet_text, terminal_table, time_text

from tests.shared.tier_measure.records import SCALES, VARIANTS, measurement


def test_the_table_has_a_row_for_each_variant_and_scale() -> None:
    lines = markdown_table(measurement()).splitlines()
    assert lines[0] == "| variant | scale | mAP@0.5 | p50, 1 thread | p50, 2 threads | memory peak |"
    assert len(lines) == 2 + len(VARIANTS) * len(SCALES)
    # 29 tiles of 2 GFLOP at 50 GFLOP/s, a tenth of it serial, and 40 ms of decoding.
    assert lines[2] == "| `n` | 1 | 0.800 | 1.2 s | 678 ms | 202 MiB |"


def test_what_was_not_measured_is_a_dash() -> None:
    record = measurement()
    some = [point for point in record.points if point.threads == 2 or point.scale == 0.25]
    bare = replace(record, points=tuple(replace(point, accuracy=None, memory_peak_mib=None) for point in some))
    assert markdown_table(bare).splitlines()[2] == "| `n` | 1 | – | – | 678 ms | – |"
    assert terminal_table(bare).splitlines()[2].split()[:4] == ["n", "@1", "2", "–"]


def test_a_gpu_has_a_column_of_its_own_and_each_precision_a_row() -> None:
    record = measurement()
    gpu = [
        replace(point, device="cuda", precision=precision, threads=1, latencies_ms=(time_ms,), memory_peak_mib=None)
        for precision, time_ms in (("float32", 20.0), ("float16", 12.0))
        for point in record.points
        if point.threads == 1
    ]
    lines = markdown_table(replace(record, points=(*record.points, *gpu))).splitlines()
    assert lines[0] == "| variant | scale | mAP@0.5 | p50, 1 thread | p50, 2 threads | p50, GPU | memory peak |"
    assert lines[2] == "| `n` float32 | 1 | 0.800 | 1.2 s | 678 ms | 20.0 ms | 202 MiB |"
    assert "| `n` float16 | 1 | 0.800 | – | – | 12.0 ms | – |" in lines


def test_two_thread_counts_are_no_check() -> None:
    text = laws_text(measurement())
    assert "n@1            serial share s 0.1" in text
    assert "two thread counts fit it whatever they are" in text
    assert "held back" not in text


def test_three_thread_counts_are_one() -> None:
    text = laws_text(measurement(threads=(1, 2, 4)))
    assert "4 threads, held back: predicted" in text
    assert "two thread counts" not in text
    (first, *_) = laws_document(measurement(threads=(1, 2, 4)))["amdahl"]
    assert first["held_back"]["threads"] == 4
    assert first["held_back"]["error"] == pytest.approx(0, abs=0.01)


def test_one_thread_count_and_one_scale_say_nothing() -> None:
    record = measurement(threads=(2,))
    one = replace(record, points=tuple(point for point in record.points if point.scale == 1.0))
    assert "Only one thread count was measured" in laws_text(one)
    assert "Only one scale was measured" in laws_text(one)


def test_what_bends_the_law_of_pixels_is_named() -> None:
    text = laws_text(measurement())
    assert "infer over the pixels that the graph sees 1.00 (1.00 to 1.00 from scale to scale)" in text
    assert "bent by tiling: the graph sees pixels^0.82" in text
    assert "decode, 3% of the time at 1 and 25% at 0.25" in text


def test_a_noisy_machine_and_few_answers_are_said() -> None:
    record = measurement()
    assert "Not a quiet machine" not in quiet_text(record)
    noisy = replace(record, calibration=replace(record.calibration, spread=0.3))
    assert "Not a quiet machine (spread above 10%)" in quiet_text(noisy)
    once = replace(record, points=tuple(replace(point, latencies_ms=(1.0,)) for point in record.points))
    assert "24 of 24 settings stand on fewer than 3 answers" in quiet_text(once)
    assert "with one answer a thread count, the interval says nothing" in laws_text(once)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [(0.0481, "48 µs"), (1.25, "1.2 ms"), (99.4, "99.4 ms"), (423.2, "423 ms"), (1204, "1.2 s"), (123_456, "123 s")],
)
def test_times_have_the_unit_that_fits(time_ms: float, text: str) -> None:
    assert time_text(time_ms) == text
