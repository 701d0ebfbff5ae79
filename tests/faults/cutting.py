"""A TCP proxy that cuts the line at the moment a test chooses."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_METHOD, _FRAME_HEAD = 1, 7
_BASIC_ACK = bytes([0, 60, 0, 80])


@dataclass
class Line:
    """A line that holds until it is cut; `port` is where the proxy listens."""

    port: int = 0
    is_cut: bool = False
    cuts: int = 0

    def cut(self) -> None:
        """Break every connection, and take none any more."""
        self.is_cut = True

    def lets_through(self, data: bytes) -> bool:
        """Tell whether these bytes from the server reach the client; if not, the connection is broken."""
        return not self.is_cut


@dataclass
class UnheardConfirms(Line):
    """A line to a broker that breaks instead of letting the confirms of these numbers through, counted from 1.

    What the broker has confirmed then is stored, while the publisher never learns of it.
    """

    unheard: set[int] = field(default_factory=set)
    confirms: int = 0

    def lets_through(self, data: bytes) -> bool:
        first = self.confirms + 1
        self.confirms += _confirms_in(data)
        return not any(number in self.unheard for number in range(first, self.confirms + 1))


@contextmanager
def cutting_proxy(port: int, line: Line) -> Iterator[Line]:
    """Stand before the server on that port for the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    line.port = listener.getsockname()[1]
    ended = threading.Event()
    thread = threading.Thread(target=_accept, args=(listener, port, line, ended))
    thread.start()
    try:
        yield line
    finally:
        ended.set()
        thread.join()
        listener.close()


def _accept(listener: socket.socket, port: int, line: Line, ended: threading.Event) -> None:
    carriers: list[threading.Thread] = []
    while not ended.is_set():
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        if line.is_cut:
            client.close()
            continue
        carriers.append(threading.Thread(target=_carry, args=(client, port, line, ended)))
        carriers[-1].start()
    for carrier in carriers:
        carrier.join()


def _carry(client: socket.socket, port: int, line: Line, ended: threading.Event) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        other = {client: server, server: client}
        while not ended.is_set() and not line.is_cut:
            for source in select.select([client, server], [], [], 0.1)[0]:
                data = source.recv(65_536)
                if not data:
                    return
                if source is server and not line.lets_through(data):
                    line.cuts += 1
                    return
                other[source].sendall(data)


def _confirms_in(data: bytes) -> int:
    """Count basic.ack frames (AMQP 0-9-1: type, channel, size, payload, end); small frames come whole on loopback."""
    found, position = 0, 0
    while position + _FRAME_HEAD + 4 <= len(data):
        size = int.from_bytes(data[position + 3 : position + _FRAME_HEAD], "big")
        method = data[position + _FRAME_HEAD : position + _FRAME_HEAD + 4]
        found += data[position] == _METHOD and method == _BASIC_ACK
        position += _FRAME_HEAD + size + 1
    return found
