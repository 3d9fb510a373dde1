"""The fault proxy itself: each fault is what its name says, and counts as fired only when it came to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fault_proxy import Fault, FaultProxy, fault_proxy

BODY = bytes(range(256)) * 200  # four pieces of the proxy


class Echo(BaseHTTPRequestHandler):
    """Gives the body to who asks, and keeps what it is sent."""

    kept: bytes = b""

    def do_GET(self) -> None:
        self.answer(BODY)

    def do_PUT(self) -> None:
        Echo.kept = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with fault_proxy(server.server_port) as found:
        yield found
    server.shutdown()
    server.server_close()


def ask(proxy: FaultProxy, method: str = "GET") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    try:
        connection.request(method, "/a", BODY if method == "PUT" else None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def meet(proxy: FaultProxy, fault: Fault) -> Fault:
    proxy.faults = [fault]
    return fault


def fired(fault: Fault) -> int:
    """How often it came to pass; the proxy counts when it has done it, which the client may see before."""
    end = time.monotonic() + 2
    while not fault.fired and time.monotonic() < end:
        time.sleep(0.005)
    return fault.fired


def test_cut_and_reset(proxy: FaultProxy) -> None:
    fault = meet(proxy, Fault("cut", "GET", at=20_000))
    with pytest.raises(IncompleteRead) as raised:
        ask(proxy)
    assert raised.value.partial == BODY[:20_000]
    assert fired(fault) == 1
    fault = meet(proxy, Fault("reset", "GET", at=20_000))
    with pytest.raises(ConnectionResetError):
        ask(proxy)
    assert fired(fault) == 1


def test_flip_and_status(proxy: FaultProxy) -> None:
    fault = meet(proxy, Fault("flip", "GET", at=20_000))
    _, body = ask(proxy)
    assert [i for i, (a, b) in enumerate(zip(body, BODY, strict=True)) if a != b] == [20_000]
    assert fired(fault) == 1
    fault = meet(proxy, Fault("flip", "PUT", at=20_000))
    assert ask(proxy, "PUT") == (200, b"")
    assert [i for i, (a, b) in enumerate(zip(Echo.kept, BODY, strict=True)) if a != b] == [20_000]
    assert fired(fault) == 1
    fault = meet(proxy, Fault("status", "GET", status=429))
    assert ask(proxy) == (429, fault.body)
    assert ask(proxy) == (200, BODY)
    assert fired(fault) == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_stall_also_where_the_answer_has_no_body(proxy: FaultProxy, method: str) -> None:
    fault = meet(proxy, Fault("stall", method, seconds=0.3))
    begun = time.monotonic()
    assert ask(proxy, method)[0] == 200
    assert time.monotonic() - begun > 0.3
    assert fired(fault) == 1


@pytest.mark.parametrize("kind", ["lost", "broken"])
def test_a_put_without_an_answer(proxy: FaultProxy, kind: str) -> None:
    Echo.kept = b""
    fault = meet(proxy, Fault("lost" if kind == "lost" else "broken", "PUT", at=20_000))
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        ask(proxy, "PUT")
    assert fired(fault) == 1
    assert Echo.kept in ((BODY,) if kind == "lost" else (b"", BODY[:20_000]))


def test_what_does_not_come_to_pass_is_claimed_but_has_not_fired(proxy: FaultProxy) -> None:
    """The client goes before the byte is reached; and a body that is empty has no bit to flip."""
    fault = meet(proxy, Fault("reset", "GET", at=len(BODY) - 1))
    proxy.bandwidth = 50_000
    connection = HTTPConnection("127.0.0.1", proxy.port)
    connection.request("GET", "/a")
    connection.getresponse().read(10)
    connection.close()
    time.sleep(1.0)
    assert (fault.claimed, fault.fired) == (1, 0)
    empty = meet(proxy, Fault("flip", "PUT", at=5))
    connection = HTTPConnection("127.0.0.1", proxy.port)
    connection.request("PUT", "/a", b"")
    assert connection.getresponse().status == 200
    assert (empty.claimed, empty.fired) == (1, 0)
