"""hosting.toml: what Azure offers is there, and what is wrong in it is named."""

from pathlib import Path

import pytest
from tier_planner.hosting import BILLINGS, Hosting, read_hostings
from tier_planner.prices import read_prices
from tier_planner.tables import TableError

from tests.conftest import PROJECT

CONFIG = PROJECT / "shared" / "config"
PRICES = read_prices(CONFIG / "prices.toml")
CATALOGUE = {hosting.name: hosting for hosting in read_hostings(CONFIG / "hosting.toml", PRICES)}


def of_billing(billing: str) -> list[Hosting]:
    return [hosting for hosting in CATALOGUE.values() if hosting.billing == billing]


def test_every_kind_of_hosting_is_there() -> None:
    assert {name: (hosting.cores, hosting.gpu) for name, hosting in CATALOGUE.items()} == {
        "client": (4, None),
        "function-512": (0.25, None),
        "function-2048": (1, None),
        "function-4096": (2, None),
        "container-half": (0.5, None),
        "container-1": (1, None),
        "container-2": (2, None),
        "container-4": (4, None),
        "serverless-t4": (8, "T4"),
        "serverless-a100": (24, "A100"),
        "dedicated-d4": (4, None),
        "dedicated-d8": (8, None),
        "dedicated-d16": (16, None),
        "dedicated-d32": (32, None),
        "vm-nc4as-t4": (4, "T4"),
        "vm-nc8as-t4": (8, "T4"),
        "vm-nc16as-t4": (16, "T4"),
        "vm-nv36ads-a10": (36, "A10"),
        "vm-nc24ads-a100": (24, "A100"),
        "vm-nc40ads-h100": (40, "H100"),
    }


def test_the_walls_of_the_platform_stand_in_it() -> None:
    assert {CATALOGUE[name].response_s_max for name in ("function-512", "function-4096")} == {230}
    assert {hosting.response_s_max for hosting in (*of_billing("replica"), *of_billing("node"))} == {240}
    assert {hosting.response_s_max for hosting in of_billing("machine")} == {None}
    assert {hosting.body_mib_max for hosting in of_billing("function")} == {210}
    # The quota of the Flex plan is one of memory: 512,000 MB, as many as 250 instances of 2048 MB.
    assert {hosting.replicas_max * hosting.memory_mib for hosting in of_billing("function")} == {512_000}
    assert CATALOGUE["container-2"].replicas_max == 1000


def test_the_function_computes_one_answer_at_a_time_on_one_thread() -> None:
    assert {(hosting.threads_max, hosting.slots_max) for hosting in of_billing("function")} == {(1, 1)}


def test_less_to_run_is_more_managed() -> None:
    levels = [CATALOGUE[name].managed for name in ("client", "function-2048", "container-2", "dedicated-d8")]
    assert [*levels, CATALOGUE["vm-nc4as-t4"].managed] == [5, 4, 3, 2, 1]
    assert CATALOGUE["serverless-t4"].managed == CATALOGUE["container-2"].managed
    assert all(hosting.managed_why and hosting.source for hosting in CATALOGUE.values())


def test_every_billing_is_used_and_a_gpu_is_paid_for() -> None:
    assert {hosting.billing for hosting in CATALOGUE.values()} == set(BILLINGS)
    assert all("gpu" in hosting.prices for hosting in of_billing("replica") if hosting.gpu)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "client"', 'kind = "mainframe"', "hosting.client.kind: must be one of client, function"),
        ("cores = 0.25", "cores = 0", "hosting.function-512.cores = 0: must be greater than 0"),
        ("memory_mib = 512", "", "hosting.function-512.memory_mib is missing"),
        ("memory_mib = 512", "memory_mib = 512\ncolour = 1", "hosting.function-512.colour = 1: is not a key"),
        ("managed = 5", "managed = 6", "managed = 6: must be at most 5"),
        ("[0.2, 0.5, 1.5]", "[0.6, 0.5, 1.5]", "core_speed = [0.6, 0.5, 1.5]: must be three ascending numbers"),
        ('machine = "vm-nc4as-t4-v3"', 'machine = "vm-none"', "prices = 'vm-none': is no row of prices.toml"),
        ('machine = "vm-nc4as-t4-v3"', 'plan = "vm-nc4as-t4-v3"', "must name machine"),
    ],
)
def test_an_error_names_the_key_and_the_value(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (CONFIG / "hosting.toml").read_text()
    assert old in text
    file = tmp_path / "hosting.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(TableError) as error:
        read_hostings(file, PRICES)
    assert said in str(error.value)
