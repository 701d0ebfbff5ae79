"""The OpenAPI description is true: whatever fits it, or does not, is answered as it says, and never by a 5xx."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.web.by_hand import Worker
from tests.web.served import Page

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_BOUNDED = settings(
    max_examples=12,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def _description(page: Page) -> dict[str, Any]:
    with page.client() as client:
        document: dict[str, Any] = client.get("/api/v1/openapi.json").json()
    return document


def test_the_description_names_every_error_of_a_change(page: Page) -> None:
    for path, methods in _description(page)["paths"].items():
        for method, operation in methods.items():
            if method == "post":
                assert {"401", "403", "409", "413", "415", "422", "429", "503"} <= set(operation["responses"]), path


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "does not fit"])
def test_no_request_is_answered_otherwise_than_described(page: Page, worker: Worker, mode: GenerationMode) -> None:
    run = worker.completed().pipeline_id
    schema = schemathesis.openapi.from_dict(_description(page))
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.POSITIVE or operation.query or operation.body or operation.path_parameters:
            _tried(page, run, operation.as_strategy(generation_mode=mode))


def _tried(page: Page, run: str, cases: st.SearchStrategy[Case]) -> None:
    @_BOUNDED
    @given(case=cases, real=st.booleans())
    def answered_as_described(case: Case, real: bool) -> None:
        if real and "pipeline_id" in (case.path_parameters or {}):
            case.path_parameters["pipeline_id"] = run
        response = case.call(base_url=page.url, headers={"Authorization": f"Bearer {page.token}"})
        case.validate_response(response, checks=_CHECKS)

    answered_as_described()
