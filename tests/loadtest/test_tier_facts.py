"""What a record says of a tier's power is what the tier itself says, which is how it really runs."""

import pytest
from inference_core.cpu import usable_cores

from loadtest.processes import LOOPBACK
from loadtest.steady import tier_of_our_own
from loadtest.tier_facts import TierFacts, ask_tier
from tests.tiers import free_port

MODEL = "breast-cancer-logistic"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tier", "power"),
    [
        ("container", {"threads": 3, "slots": 2, "cores": usable_cores()}),
        ("gpu", {"threads": 3, "slots": 2, "cores": usable_cores()}),
        ("function", {"threads": 1, "slots": 1, "cores": None}),
    ],
)
def test_a_tier_is_asked_for_its_power(tier: str, power: dict[str, int | None]) -> None:
    port = free_port()
    settings = {"INFERENCE_MODELS": MODEL, "INFERENCE_THREADS": "3", "INFERENCE_SLOTS": "2"}
    with tier_of_our_own(tier, port, settings):
        facts = ask_tier(f"http://{LOOPBACK}:{port}", MODEL)
    device = "cpu-stand-in" if tier == "gpu" else "cpu"
    assert facts == TierFacts(device, variant="logistic", **power)
