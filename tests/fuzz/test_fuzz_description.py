"""Requests made up from the OpenAPI document, as Schemathesis does it: every route answers as the document says."""

from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.core.result import Err
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.entry import Tier
from tests.fuzz.conftest import ANSWERED_S, STATUSES

MODELS = ("squares-n", "sizes-linear", "sizes", None)
"""Names made up are found nowhere: most requests ask for a model that is there."""
ROUTES = 10
"""Routes share the examples that other tests have each to itself."""


@pytest.mark.slow
def test_every_route_answers_as_described(tier: Tier) -> None:
    schema = schemathesis.openapi.from_url(f"{tier.client.base_url}/openapi.json")
    examples = settings.get_profile(settings.get_current_profile_name()).max_examples // ROUTES
    for found in schema.get_all_operations():
        assert not isinstance(found, Err)

        @settings(max_examples=examples)
        @given(found.ok().as_strategy(), st.sampled_from(MODELS))
        def answered(case: Case[Any], model: str | None) -> None:
            if model and "name" in case.path_parameters:
                case.path_parameters["name"] = model
            reply = case.call(timeout=ANSWERED_S)
            STATUSES["description", reply.status_code] += 1
            # A document for every model cannot say which columns or pictures one of them takes.
            case.validate_response(reply, excluded_checks=[positive_data_acceptance])

        answered()
