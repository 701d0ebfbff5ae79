"""The error tree: exit codes, and errors that survive the way between processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from workbench.base import errors


def _all(kind: type[errors.WorkbenchError]) -> Iterator[type[errors.WorkbenchError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _all(below)


OWN = sorted(
    {kind for kind in _all(errors.WorkbenchError) if kind.__module__ == errors.__name__}, key=lambda kind: kind.__name__
)


@pytest.mark.parametrize("kind", OWN)
def test_every_error_stands_in_the_drawing_and_says_what_it_means(kind: type[errors.WorkbenchError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__
    assert kind.__doc__


@pytest.mark.parametrize("kind", OWN)
def test_refusals_exit_with_2_cancellation_with_130_and_the_rest_with_1(kind: type[errors.WorkbenchError]) -> None:
    special = {errors.RunCancelled: 130}
    assert kind.exit_code == special.get(kind, 2 if issubclass(kind, errors.Refused) else 1)


def test_errors_with_fields_of_their_own_survive_pickling() -> None:
    refused = pickle.loads(pickle.dumps(errors.InvalidParameter("records", "too few")))
    assert (refused.field, refused.reason, str(refused)) == ("records", "too few", "parameter records: too few")


@pytest.mark.parametrize(
    ("name", "worth"),
    [("ServiceUnavailable", True), ("OperationalError", True), ("InvalidParameter", False), ("ModelTestFailed", False)],
)
def test_only_what_may_end_otherwise_is_tried_again(name: str, worth: bool) -> None:
    assert errors.is_transient(name) is worth
