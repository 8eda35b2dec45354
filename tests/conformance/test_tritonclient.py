"""tritonclient, sync and aio, has its whole vocabulary understood by every tier."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conformance.models import write_models
from tests.conformance.vocabulary import CLIENTS, FEATURES, run
from tests.tiers import TIERS, running


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("conformance")
    models = str(write_models(folder / "models"))
    with ExitStack() as stack:
        yield {
            tier: str(stack.enter_context(running(tier, folder / f"{tier}.log", INFERENCE_MODELS_DIR=models)).base_url)
            for tier in TIERS
        }


# The aio client's own ways: it leaves replies to /ready unread, and sends large bodies in one piece.
@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("tier", TIERS)
def test_a_client_is_understood(urls: dict[str, str], tier: str, client: str, feature: str) -> None:
    asyncio.run(run(tier, urls[tier], client, feature))
    if client == "aio":
        gc.collect()  # what the client left open complains here, not in some later test
