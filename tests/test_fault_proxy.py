"""The fault proxy itself: each fault does what its name says, and counts as fired only if it happened."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fault_proxy import Fault, FaultProxy, Kind, fault_proxy

BODY = bytes(range(256)) * 200  # four pieces of the proxy


class Echo(BaseHTTPRequestHandler):
    """Answers with the body and keeps what it is sent."""

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


def ask(proxy: FaultProxy, method: str = "GET", body: bytes = BODY, size: int | None = None) -> tuple[int, bytes]:
    """The status and the first bytes of an answer; the connection is closed then."""
    with closing(HTTPConnection("127.0.0.1", proxy.port, timeout=5)) as connection:
        connection.request(method, "/a", body if method == "PUT" else None)
        answer = connection.getresponse()
        return answer.status, answer.read(size)


def fired(fault: Fault) -> int:
    """How often it happened; the proxy counts after the fault, when the client may have noticed it already."""
    end = time.monotonic() + 2
    while not fault.fired and time.monotonic() < end:
        time.sleep(0.005)
    return fault.fired


@pytest.mark.parametrize(("kind", "error"), [("cut", IncompleteRead), ("reset", ConnectionResetError)])
def test_cut_and_reset(proxy: FaultProxy, kind: Kind, error: type[Exception]) -> None:
    proxy.faults = [fault := Fault(kind, "GET", at=20_000)]
    with pytest.raises(error) as raised:
        ask(proxy)
    assert kind == "reset" or raised.value.partial == BODY[:20_000]  # type: ignore[attr-defined]
    assert fired(fault) == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_flip(proxy: FaultProxy, method: str) -> None:
    proxy.faults = [fault := Fault("flip", method, at=20_000)]
    status, body = ask(proxy, method)
    changed = zip(body if method == "GET" else Echo.kept, BODY, strict=True)
    assert [i for i, (a, b) in enumerate(changed) if a != b] == [20_000]
    assert (status, fired(fault)) == (200, 1)


def test_status(proxy: FaultProxy) -> None:
    proxy.faults = [fault := Fault("status", "GET", status=429)]
    assert [ask(proxy), ask(proxy)] == [(429, fault.body), (200, BODY)]
    assert fired(fault) == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_stall_also_where_the_answer_has_no_body(proxy: FaultProxy, method: str) -> None:
    proxy.faults = [fault := Fault("stall", method, seconds=0.3)]
    begun = time.monotonic()
    assert ask(proxy, method)[0] == 200
    assert time.monotonic() - begun > 0.3
    assert fired(fault) == 1


@pytest.mark.parametrize("kind", ["lost", "broken"])
def test_a_put_without_an_answer(proxy: FaultProxy, kind: str) -> None:
    Echo.kept = b""
    proxy.faults = [fault := Fault("lost" if kind == "lost" else "broken", "PUT", at=20_000)]
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        ask(proxy, "PUT")
    assert fired(fault) == 1
    assert Echo.kept in ((BODY,) if kind == "lost" else (b"", BODY[:20_000]))


def test_a_fault_that_does_not_happen_is_claimed_but_not_fired(proxy: FaultProxy) -> None:
    """The client leaves before the byte is reached; and an empty body has no bit to flip."""
    proxy.faults = [fault := Fault("reset", "GET", at=len(BODY) - 1)]
    proxy.bandwidth = 50_000
    ask(proxy, size=10)
    time.sleep(1.0)
    assert (fault.claimed, fault.fired) == (1, 0)
    proxy.faults = [empty := Fault("flip", "PUT", at=5)]
    assert ask(proxy, "PUT", b"") == (200, b"")
    assert (empty.claimed, empty.fired) == (1, 0)
