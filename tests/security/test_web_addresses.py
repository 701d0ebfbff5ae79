"""The page answers to its own address as browsers write it, and to no other."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from workbench.base.settings import Settings
from workbench.web.auth import Access

pytestmark = pytest.mark.promise(
    "S6", "foreign hosts and origins are refused; changes want a token; with one set nobody reads without it"
)


@pytest.mark.parametrize(
    ("host", "port", "asked"),
    [
        ("127.0.0.1", 80, ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:80"]),
        ("FD00:0::1", 8787, ["[fd00::1]:8787"]),
        ("[fd00::1]", 80, ["[fd00::1]", "[fd00::1]:80"]),
        ("Runs.Example", 80, ["runs.example", "RUNS.example"]),
    ],
)
def test_the_page_knows_its_own_address_as_browsers_write_it(
    own_settings: Settings, host: str, port: int, asked: list[str]
) -> None:
    settings = own_settings.model_copy(update={"workbench_web_host": host, "workbench_web_port": port})
    access = Access.of(settings)
    for name in asked:
        assert access.refusal(Headers({"host": name, "origin": f"http://{name}"})) is None
        for other in (f"{name}.attacker.example", f"{name}:81", name.partition(":80")[0] + ":8080"):
            assert access.refusal(Headers({"host": other})) is not None


@pytest.mark.parametrize("origin", ["https://127.0.0.1", "http://127.0.0.1:443", "ws://127.0.0.1", "http://127.0.0.1:"])
def test_on_port_80_another_server_of_the_same_machine_is_still_another(own_settings: Settings, origin: str) -> None:
    access = Access.of(own_settings.model_copy(update={"workbench_web_port": 80}))
    assert access.refusal(Headers({"host": "127.0.0.1", "origin": origin})) is not None


def test_only_the_port_that_browsers_leave_out_may_be_left_out(own_settings: Settings) -> None:
    assert Access.of(own_settings).refusal(Headers({"host": "127.0.0.1"})) is not None
