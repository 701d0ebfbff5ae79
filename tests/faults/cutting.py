"""A TCP proxy before a broker that cuts the connection at the moment a test chooses."""

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
class Cutter:
    """Counts the confirms that come from the broker; the one numbered in `cut_before` is not let through, nor more.

    What the broker has confirmed then is stored, while the publisher never learns of it.
    """

    url: str
    cut_before: set[int] = field(default_factory=set)
    confirms: int = 0
    cuts: int = 0

    def is_cut_at(self, data: bytes) -> bool:
        """Tell whether the connection is to be cut instead of letting these bytes through."""
        first = self.confirms + 1
        self.confirms += _confirms_in(data)
        return any(number in self.cut_before for number in range(first, self.confirms + 1))


@contextmanager
def cutting_proxy(port: int) -> Iterator[Cutter]:
    """Stand before the broker on that port for the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    cutter = Cutter(f"amqp://guest:guest@127.0.0.1:{listener.getsockname()[1]}/%2F")
    ended = threading.Event()
    thread = threading.Thread(target=_accept, args=(listener, port, cutter, ended))
    thread.start()
    try:
        yield cutter
    finally:
        ended.set()
        thread.join()
        listener.close()


def _accept(listener: socket.socket, port: int, cutter: Cutter, ended: threading.Event) -> None:
    """Serve one connection after the other; a relay has one."""
    while not ended.is_set():
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        with client, socket.create_connection(("127.0.0.1", port)) as broker:
            _carry(client, broker, cutter, ended)


def _carry(client: socket.socket, broker: socket.socket, cutter: Cutter, ended: threading.Event) -> None:
    other = {client: broker, broker: client}
    while not ended.is_set():
        for source in select.select([client, broker], [], [], 0.2)[0]:
            data = source.recv(65_536)
            if not data:
                return
            if source is broker and cutter.is_cut_at(data):
                cutter.cuts += 1
                return
            other[source].sendall(data)


def _confirms_in(data: bytes) -> int:
    """Count basic.ack frames (AMQP 0-9-1: type, channel, size, payload, end); small frames arrive whole on loopback."""
    found, position = 0, 0
    while position + _FRAME_HEAD + 4 <= len(data):
        size = int.from_bytes(data[position + 3 : position + _FRAME_HEAD], "big")
        method = data[position + _FRAME_HEAD : position + _FRAME_HEAD + 4]
        found += data[position] == _METHOD and method == _BASIC_ACK
        position += _FRAME_HEAD + size + 1
    return found
