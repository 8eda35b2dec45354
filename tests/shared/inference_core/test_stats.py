"""Counters move with each answer and split its time as Triton's statistics do."""

from concurrent.futures import ThreadPoolExecutor

from inference_core.stats import ModelStats


def test_stage_times_are_split_into_queue_input_inference_and_output() -> None:
    stats = ModelStats()
    stats.add({"queue": 1.0, "decode": 2.0, "preprocess": 0.5, "infer": 3.0, "postprocess": 0.25, "fault": 10.0})
    document = stats.document("m", "1")
    assert document["inference_count"] == 1
    parts = {name: part["ns"] for name, part in document["inference_stats"].items()}
    assert parts["queue"] == 1_000_000
    assert parts["compute_input"] == 2_500_000
    assert parts["compute_infer"] == 3_000_000
    assert parts["compute_output"] == 250_000
    assert parts["success"] == 16_750_000
    assert parts["cache_hit"] == 0


def test_a_refused_request_counts_apart() -> None:
    stats = ModelStats()
    stats.add_failure()
    document = stats.document("m", "1")
    assert document["inference_count"] == 0
    assert document["inference_stats"]["fail"]["count"] == 1


def test_no_count_is_lost_between_threads() -> None:
    stats = ModelStats()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: stats.add({"infer": 1.0}), range(4000)))
    assert stats.document("m", "1")["inference_stats"]["compute_infer"] == {"count": 4000, "ns": 4_000_000_000}
