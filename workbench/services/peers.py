"""The user at the other end of a connection on loopback: our own, or another user of the machine.

Linux reports the owner of every socket (netlink's sock_diag, as `ss` does). See docs/adr/0013.
"""

from __future__ import annotations

import os
import platform
import socket
import struct
from functools import cache
from ipaddress import ip_address

from starlette.types import Scope

_SOCK_DIAG, _BY_FAMILY, _REQUEST = 4, 20, 1
_HEADER = struct.Struct("=IHHII")
_UID_AT = 16 + 4 + 48 + 12  # nlmsghdr, then inet_diag_msg up to its idiag_uid
_ESTABLISHED = 1  # the owner of a connection closed at the other end may be unknown
Place = tuple[str, int]


def is_ours(scope: Scope) -> bool:
    """Return whether a process of our own user or of root has made this request.

    True where that is unknown: on other systems, and for requests that do not come from this machine by TCP.
    """
    client, server = scope.get("client"), scope.get("server")
    try:
        if not (client and server and ip_address(client[0]).is_loopback and _owners_are_known()):
            return True
    except ValueError:
        return True
    return owner_of(tuple(client), tuple(server)) in (os.geteuid(), 0)


def owner_of(local: Place, remote: Place) -> int | None:
    """Return the user id of the established connection with these ends, None when there is none; raises `OSError`."""
    family = socket.AF_INET if ip_address(local[0]).version == 4 else socket.AF_INET6
    ends = b"".join(ip_address(host).packed.ljust(16, b"\0") for host, _ in (local, remote))
    identity = struct.pack("!HH", local[1], remote[1]) + ends + struct.pack("=I", 0) + b"\xff" * 8
    question = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + identity
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as system:
        system.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 0, 0) + question)
        answer = system.recv(8192)
    kind, state = _HEADER.unpack_from(answer)[1], answer[_HEADER.size + 1]
    return struct.unpack_from("=I", answer, _UID_AT)[0] if (kind, state) == (_BY_FAMILY, _ESTABLISHED) else None


@cache
def _owners_are_known() -> bool:
    """Return whether this system reports the owners of connections, tried on one of our own.

    Not in WSL, where a browser of Windows connects by loopback without a socket that Linux knows.
    """
    if not hasattr(socket, "AF_NETLINK") or "microsoft" in platform.release().lower():
        return False
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        try:
            return owner_of(client.getsockname(), server.getsockname()) == os.geteuid()
        except OSError:
            return False
