"""A web page in a browser of this machine can neither read nor change anything in the embedded Prefect."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import yaml
from starlette.datastructures import Headers

from workbench.base.settings import PROJECT, Settings
from workbench.prefect.server_app import NAMES, is_own
from workbench.services import prefect

pytestmark = pytest.mark.promise("S7", "no foreign web page reads or changes anything in Prefect")

FLOW = json.dumps({"name": "made-by-a-foreign-page"}).encode()
FOREIGN = {
    "another page's origin": {"Origin": "http://attacker.example"},
    "another port's page": {"Origin": "http://127.0.0.1:3000"},
    "another port's page by another name": {"Origin": "http://localhost:3000"},
    "a sandboxed page": {"Origin": "null"},
    "a name that leads here": {"Host": "attacker.example:{port}"},
    "a name that looks like ours": {"Host": "127.0.0.1.attacker.example:{port}"},
    "no name": {"Host": ""},
    "a script that hides where it comes from": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "a page of another port": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    "a frame": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
}
OWN = {
    "a program": {},
    "the server's own page": {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
    "its page by this machine's other name": {
        "Origin": "http://localhost:{port}",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "cors",
    },
    "a tunnel": {"Host": "localhost:4200", "Origin": "http://localhost:4200"},
    "a person who follows a link": {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    },
}
WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


@pytest.fixture(scope="module")
def port(settings: Settings) -> Iterator[int]:
    with prefect.held(settings) as url:
        yield urlsplit(url).port or 0


def asked(port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, dict[str, str]]:
    """Return status and headers of an answer to exactly these headers."""
    sent = {"Host": f"127.0.0.1:{port}"} | {name: value.format(port=port) for name, value in headers.items()}
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**sent, **({"Content-Length": str(len(body))} if body else {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize("who", FOREIGN)
def test_what_a_foreign_page_asks_is_refused(port: int, who: str) -> None:
    for method, path, body in (
        ("GET", "/api/health", b""),
        ("POST", "/api/flows/", FLOW),  # no content type: Prefect takes that for JSON, and no browser asks before
        ("OPTIONS", "/api/flows/", b""),
        ("GET", "/", b""),
    ):
        status, headers = asked(port, method, path, FOREIGN[who], body)
        assert status == (403 if who != "no name" else status)
        assert status >= 400
        assert "access-control-allow-origin" not in headers
    known, _ = asked(port, "GET", "/api/flows/name/made-by-a-foreign-page", {})
    assert known == 404


@pytest.mark.parametrize("who", OWN)
def test_programs_its_own_page_and_tunnels_are_answered(port: int, who: str) -> None:
    assert asked(port, "GET", "/api/health", OWN[who])[0] == 200


@pytest.mark.parametrize("who", [*FOREIGN, *OWN])
def test_the_gate_knows_own_pages_by_their_headers(who: str) -> None:
    given = {"Host": "127.0.0.1:4321", **(FOREIGN | OWN)[who]}
    headers = Headers({name: value.format(port=4321) for name, value in given.items()})
    assert is_own(headers, frozenset()) is (who in OWN)


def test_in_the_compose_file_it_is_behind_the_same_gate_and_programs_reach_it_by_its_name() -> None:
    service = yaml.safe_load((PROJECT / "docker-compose.yml").read_text("utf-8"))["services"]["prefect"]
    assert "workbench.prefect.server_app:create_app" in service["command"]
    names = frozenset(service["environment"][NAMES].split(","))
    assert is_own(Headers({"host": "prefect:4200"}), names)
    assert is_own(Headers({"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:4200"}), names)
    assert not is_own(Headers({"host": "attacker.example:4200"}), names)
    assert not is_own(Headers({"host": "prefect:4200", "origin": "http://attacker.example"}), names)


@pytest.mark.parametrize(("origin", "status"), [("http://attacker.example", 403), ("", 101)])
def test_a_websocket_of_a_foreign_page_is_refused(port: int, origin: str, status: int) -> None:
    headers = {**WEBSOCKET, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", **({"Origin": origin} if origin else {})}
    lines = [f"{name}: {value}" for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items()]
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall("\r\n".join(["GET /api/events/in HTTP/1.1", *lines, "", ""]).encode())
        assert int(connection.recv(4096).split()[1]) == status
