"""What is known of a hosting: its own record first, then Amdahl and a core's speed; never a GPU from anything else."""

from dataclasses import replace

import pytest
from tier_planner.candidates import CLAIMED, MEASURED, PREDICTED, SAME_GPU, Candidate, Evidence, UnknownTime
from tier_planner.hosting import Calibration, Hosting, read_hostings
from tier_planner.measurements import Measurement
from tier_planner.objectives import read_objectives
from tier_planner.predict import candidates
from tier_planner.prices import read_prices
from tier_planner.records import Figures, Ran, Record, Sample, Verdict
from tier_planner.requirement import Claim

from tests.conftest import PROJECT
from tests.synthetic import KERNEL, boards, boards_on_gpu, measurement, picture_point, rows

CONFIG = PROJECT / "shared" / "config"
HOSTINGS = {one.name: one for one in read_hostings(CONFIG / "hosting.toml", read_prices(CONFIG / "prices.toml"))}


def found(hosting: Hosting, evidence: Evidence, variant: str = "n", scale: float | None = 1.0) -> dict[int, Candidate]:
    """By threads."""
    asked = "rows" if scale is None else "boards"
    every = candidates(hosting, asked, evidence)
    return {one.threads: one for one in every if (one.variant, one.scale) == (variant, scale)}


def middle_ms(candidate: Candidate) -> float:
    return candidate.service_quantile_ms(50)


def test_more_threads_follow_amdahl() -> None:
    by_threads = found(HOSTINGS["dedicated-d8"], Evidence((boards(),)))
    assert {threads: middle_ms(one) for threads, one in by_threads.items()} == pytest.approx(
        {1: 1000, 2: 550, 4: 325, 8: 212.5}, rel=0.02
    )
    assert {one.evidence for one in by_threads.values()} == {PREDICTED}
    assert {threads: one.slots for threads, one in by_threads.items()} == {1: 8, 2: 4, 4: 2, 8: 1}
    assert "2 threads measured;" in by_threads[2].why
    assert "8 threads by Amdahl from 1, 2 (serial share 0.10" in by_threads[8].why


def test_what_is_further_from_the_measured_threads_is_less_sure() -> None:
    by_threads = found(HOSTINGS["dedicated-d32"], Evidence((boards(),)))
    assert by_threads[32].high > by_threads[4].high > by_threads[2].high
    assert by_threads[2].low == pytest.approx(1 / 1.5)
    assert by_threads[2].high == pytest.approx(1 / 0.5)


def test_between_measured_threads_the_interval_holds_the_law_on_both_sides() -> None:
    noisy = [replace(picture_point("n", 1.0, 1), latencies_ms=(900.0, 1000.0, 1100.0))]
    noisy += [replace(picture_point("n", 1.0, 16), latencies_ms=(140.0, 157.0, 180.0))]
    sure = replace(HOSTINGS["dedicated-d16"], core_speed=(1.0, 1.0, 1.0))
    by_threads = found(sure, Evidence((measurement(noisy),)))
    assert by_threads[16].low == by_threads[16].high == 1
    for threads in (2, 4, 8):
        assert by_threads[threads].low < 1 < by_threads[threads].high
    # 2 is nearer to 1 than to 16, so it is less unsure than 4, whose neighbours are four times away.
    assert by_threads[2].high - by_threads[2].low < by_threads[4].high - by_threads[4].low


def test_less_than_a_core_is_its_share_of_one() -> None:
    (one,) = found(HOSTINGS["function-512"], Evidence((rows(),)), "small", None).values()
    assert middle_ms(one) == pytest.approx(2.0 / 0.25)


def test_a_calibration_there_replaces_the_assumption() -> None:
    known = replace(HOSTINGS["container-1"], calibration=Calibration(KERNEL, 25.0, "measured there"))
    (one,) = found(known, Evidence((boards(),))).values()
    assert middle_ms(one) == pytest.approx(2000)
    assert (one.low, one.high) == pytest.approx((1 / 1.05, 1 / 0.95))
    other = replace(known, calibration=Calibration("another kernel", 25.0, "measured there"))
    assert middle_ms(*found(other, Evidence((boards(),))).values()) == pytest.approx(1000)


@pytest.mark.parametrize("name", ["serverless-t4", "vm-nc4as-t4"])
def test_a_gpu_without_a_record_is_unknown(name: str) -> None:
    evidence = Evidence((boards(), boards_on_gpu("NVIDIA H100 80GB HBM3, driver 1", 100)))
    with pytest.raises(UnknownTime, match="nothing was measured on GPU T4: run `tiers measure boards` there"):
        candidates(HOSTINGS[name], "boards", evidence)


def test_a_gpu_is_measured_on_its_like() -> None:
    evidence = Evidence((boards(), boards_on_gpu("Tesla T4, driver 1", 100)))
    (one,) = found(HOSTINGS["serverless-t4"], evidence).values()
    assert middle_ms(one) == pytest.approx(10)
    assert one.evidence == SAME_GPU
    a10 = Evidence((boards_on_gpu("NVIDIA A100-SXM4-80GB, driver 1", 100),))
    with pytest.raises(UnknownTime):
        candidates(HOSTINGS["vm-nv36ads-a10"], "boards", a10)  # A10 is no A100
    assert found(HOSTINGS["vm-nc24ads-a100"], a10)


def test_the_cpu_beside_a_gpu_is_unsure_and_carries_so_many_answers_at_once_as_it_has_cores() -> None:
    (alone,) = boards_on_gpu("Tesla T4, driver 1", 100).points[:1]
    time_ms = alone.p50_ms
    mixed = replace(
        alone,
        stages_ms={"decode": 0.6 * time_ms, "infer": 0.4 * time_ms},
        callers=32,
        throughput_per_s=6 * 1000 / time_ms,
    )
    evidence = Evidence((measurement([mixed], gpu="Tesla T4, driver 1"),))
    (small,) = found(HOSTINGS["vm-nc4as-t4"], evidence).values()
    (large,) = found(HOSTINGS["vm-nc8as-t4"], evidence).values()
    assert (small.slots, large.slots) == (4, 6)
    edge = alone.spread / 2
    # 0.5 to 1.5 of a core's speed, on 60 % of the time.
    assert (small.low, small.high) == pytest.approx((0.8 * (1 - edge), 1.6 * (1 + edge)))
    assert "did 60% of an answer" in small.why
    (pure,) = found(HOSTINGS["vm-nc4as-t4"], Evidence((boards_on_gpu("Tesla T4, driver 1", 100),))).values()
    assert (pure.low, pure.high) == pytest.approx((1 - edge, 1 + edge))


def test_a_browser_is_never_predicted() -> None:
    with pytest.raises(UnknownTime, match=r"no time in a browser is known"):
        candidates(HOSTINGS["client"], "boards", Evidence((boards(),)))


def test_a_claim_is_shown_as_one() -> None:
    claim = Claim("serverless-t4", "n", 1.0, 50.0, 60.0, "the vendor")
    (one,) = found(HOSTINGS["serverless-t4"], Evidence((boards(),), claims=(claim,))).values()
    assert (middle_ms(one), one.service_quantile_ms(95), one.evidence) == (50, 60, CLAIMED)
    assert one.why == "not measured here: the vendor"
    assert one.accuracy == 0.8


def record(hosting: str, times_ms: list[float], *, is_remote: bool, device: str = "cpu") -> Record:
    objective = read_objectives(CONFIG / "slo.toml").of_tier("container")
    samples = tuple(
        Sample(float(at), 0.0, time_ms + 500, 200, "", {"queue": 500.0}) for at, time_ms in enumerate(times_ms)
    )
    return Record(
        "2026-11-26T00:00:00+00:00",
        Ran("container", hosting, device, "boards-n", "n", 1.0, 2, ""),
        None if is_remote else boards().machine,
        objective,
        Figures(2, 2, 0, 1, 1, 1, 1, 1, 1, 0),
        Verdict("PASS", ()),
        samples,
    )


def test_a_load_test_of_the_hosting_itself_wins() -> None:
    evidence = Evidence((boards(),), (record("Container Apps 2 vCPU", [700.0, 710.0, 720.0], is_remote=True),))
    by_threads = found(HOSTINGS["container-2"], evidence)
    assert (middle_ms(by_threads[2]), by_threads[2].evidence) == (710, MEASURED)
    assert by_threads[2].why.startswith("load test of 2026-11-26 there, 3 answers; how many a replica computes at once")
    assert by_threads[1].evidence == PREDICTED
    assert found(HOSTINGS["container-4"], evidence)[2].evidence == PREDICTED


@pytest.mark.parametrize(
    ("slots", "said"), [(None, "is not in it: one is assumed"), (1, ", one at a time"), (2, "; 2 at once on a replica")]
)
def test_how_many_answers_a_load_test_had_at_once_is_said(slots: int | None, said: str) -> None:
    there = record("container-2", [700.0], is_remote=True)
    there = replace(there, ran=replace(there.ran, slots=slots))
    one = found(HOSTINGS["container-2"], Evidence((boards(),), (there,)))[2]
    assert said in one.why
    assert one.slots == 1


def test_a_load_test_is_as_sure_as_its_answers_are_many() -> None:
    def interval(times_ms: list[float]) -> tuple[float, float]:
        evidence = Evidence((boards(),), (record("container-2", times_ms, is_remote=True),))
        one = found(HOSTINGS["container-2"], evidence)[2]
        return one.low, one.high

    few, many = (interval([700.0 + step for step in range(0, 300, every)]) for every in (75, 1))
    # Of four answers the median is somewhere between the first and the last.
    assert few == pytest.approx((700 / 775, 925 / 775))
    assert few[0] < many[0] < 1 < many[1] < few[1]


@pytest.mark.parametrize("device", ["cpu", "cpu-stand-in"])
def test_only_a_gpu_speaks_for_a_gpu(device: str) -> None:
    stood_in = Evidence((boards(),), (record("vm-nc4as-t4", [700.0], is_remote=True, device=device),))
    with pytest.raises(UnknownTime):
        candidates(HOSTINGS["vm-nc4as-t4"], "boards", stood_in)
    real = Evidence((boards(),), (record("vm-nc4as-t4", [70.0], is_remote=True, device="cuda"),))
    assert middle_ms(*found(HOSTINGS["vm-nc4as-t4"], real).values()) == 70
    beside = Evidence((boards(),), (record("container-2", [70.0], is_remote=True, device="cuda"),))
    assert {one.evidence for one in found(HOSTINGS["container-2"], beside).values()} == {PREDICTED}


def test_a_load_test_on_this_machine_says_nothing_of_the_hosting_that_it_plays() -> None:
    evidence = Evidence((boards(),), (record("Container Apps 2 vCPU", [700.0], is_remote=False),))
    assert {one.evidence for one in found(HOSTINGS["container-2"], evidence).values()} == {PREDICTED}


NEWER = "2026-12-01T00:00:00+00:00"


def test_of_equal_measurements_the_newest_counts() -> None:
    points = [replace(p, latencies_ms=tuple(ms / 2 for ms in p.latencies_ms)) for p in boards().points]
    newer = replace(measurement(points), written_at=NEWER)
    for both in ((boards(), newer), (newer, boards())):
        assert middle_ms(found(HOSTINGS["container-2"], Evidence(both))[2]) == pytest.approx(275)


def test_a_newer_measurement_of_less_hides_nothing() -> None:
    some = [picture_point("n", 1.0, 16, faster=2.0), picture_point("n", 0.5, 1, faster=2.0)]
    newer = replace(measurement(some), written_at=NEWER)
    alone, both = Evidence((boards(),)), Evidence((boards(), newer))
    for scale in (1.0, 0.5):
        assert found(HOSTINGS["container-2"], both, scale=scale) == found(HOSTINGS["container-2"], alone, scale=scale)


def test_what_only_another_machine_measured_is_translated_by_the_calibrations() -> None:
    reference = measurement([p for p in boards().points if p.variant != "n"])
    other = measurement([picture_point("n", 1.0, threads, faster=2.0) for threads in (1, 2)])
    other = replace(other, calibration=replace(other.calibration, gflops_per_core=100.0))
    assert middle_ms(found(HOSTINGS["container-2"], Evidence((reference, other)))[2]) == pytest.approx(550)
    foreign = replace(other, calibration=replace(other.calibration, kernel="another kernel"))
    assert found(HOSTINGS["container-2"], Evidence((reference, foreign))) == {}


def test_the_cpu_beside_a_gpu_speaks_only_where_no_other_does() -> None:
    beside = measurement([*boards().points, picture_point("n", 1.0, 8)], gpu="NVIDIA H100 80GB HBM3, driver 1")
    fast = replace(beside, written_at=NEWER, points=tuple(replace(p, latencies_ms=(1.0,)) for p in beside.points))
    assert middle_ms(found(HOSTINGS["container-2"], Evidence((boards(), fast)))[2]) == pytest.approx(550)
    assert middle_ms(found(HOSTINGS["container-2"], Evidence((fast,)))[2]) == 1.0


def test_answers_beside_each_other_take_longer_as_measured() -> None:
    point = replace(picture_point("n", 1.0, 1), callers=2, throughput_per_s=2 / 1.3)
    crowded: Measurement = measurement([point, picture_point("n", 1.0, 2)])
    by_threads = found(HOSTINGS["container-2"], Evidence((crowded,)))
    assert by_threads[1].contention == pytest.approx(1.3)
    assert by_threads[2].contention == 1


def test_contention_that_was_not_measured_is_the_worst_of_the_model_and_makes_the_time_less_sure() -> None:
    two_callers = [
        replace(picture_point("n", 1.0, 1), callers=2, throughput_per_s=2 / 1.3),
        replace(picture_point("n", 0.5, 1), callers=2, throughput_per_s=8 / 1.5),
    ]
    crowded = measurement([*two_callers, picture_point("n", 1.0, 2), *(p for p in boards().points if p.variant == "m")])
    here, wider = (found(HOSTINGS[name], Evidence((crowded,))) for name in ("container-2", "container-4"))
    assert (here[1].slots, here[1].contention, here[1].high) == pytest.approx((2, 1.3, 1 / 0.5))
    for threads, slots in ((1, 4), (2, 2)):
        assert (wider[threads].slots, wider[threads].contention) == pytest.approx((slots, 1.5))
        assert wider[threads].high == pytest.approx(1.5 / 0.5)
        assert f"{slots} answers at once were not measured: 1.50 times as long" in wider[threads].why
    assert (wider[4].slots, wider[4].contention) == (1, 1)
    never = found(HOSTINGS["container-4"], Evidence((crowded,)), variant="m")[1]
    assert never.contention == 1
    assert "was never measured and counts as nothing" in never.why
