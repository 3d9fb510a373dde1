"""An HTTP proxy that injects faults and counts them: a fault that did not happen tested nothing."""

import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NoReturn, TypeAlias

PIECE = 16 << 10
EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"

Kind: TypeAlias = Literal["cut", "reset", "stall", "flip", "status", "lost", "broken", "call"]


@dataclass
class Fault:
    """A fault in the first `times` requests whose `METHOD /path` matches the pattern.

    cut, reset: the connection is closed, or reset, after `at` bytes of the answer's body, modulo its length; before the
    headers if there is no body. stall: it pauses for `seconds` there. flip: a bit of the byte there is flipped; of a
    PUT, in the request. status: the proxy answers `status` and `body`. lost: the server gets the request, the client no
    answer. broken: the server gets `at` bytes of a PUT. call: only `action`; cut, reset, stall and flip also call it.
    `claimed` counts the requests that met the fault, `fired` those in which it happened.
    """

    kind: Kind
    pattern: str = r"GET .*\.tar$"
    times: float = 1
    at: int = 0
    seconds: float = 0.0
    status: int = 503
    body: bytes = b"<Error><Code>SlowDown</Code></Error>"
    action: Callable[[], object] = lambda: None
    claimed: int = 0
    fired: int = 0

    def fire(self) -> None:
        """Count that it happened."""
        with _counting:
            self.fired += 1


_counting = threading.Lock()


class FaultProxy(ThreadingHTTPServer):
    """A proxy on one port of 127.0.0.1 for a server on another.

    Attributes:
        port: Its port.
        faults: The faults; of those that match, the first that is not used up happens.
        requests: Number of requests by method and path.
        bandwidth: Bytes per second of all answers together.
        sent: Bytes of all answers.
    """

    daemon_threads = True

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.port, self.faults, self.bandwidth = upstream, self.server_port, list[Fault](), float("inf")
        self.requests: Counter[tuple[str, str]] = Counter()
        self.sent, self._free_at, self._lock = 0, 0.0, threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def count(self, pattern: str) -> int:
        """The number of requests that match."""
        return sum(n for (method, path), n in self.requests.items() if re.search(pattern, f"{method} {path}"))

    def fault_of(self, method: str, path: str) -> Fault | None:
        """Count a request and return the fault that it meets."""
        with self._lock:
            self.requests[method, path] += 1
            for fault in self.faults:
                if fault.claimed < fault.times and re.search(fault.pattern, f"{method} {path}"):
                    fault.claimed += 1
                    return fault
        return None

    def pace(self, size: int) -> None:
        """Wait until `size` more bytes fit into the bandwidth."""
        with self._lock:
            self.sent += size
            self._free_at = max(self._free_at, time.monotonic()) + size / self.bandwidth
            wait = self._free_at - time.monotonic()
        if wait > 0.001:
            time.sleep(wait)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, FaultProxy)
        try:
            _forward(self.server, self)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def _forward(proxy: FaultProxy, client: BaseHTTPRequestHandler) -> None:
    fault = proxy.fault_of(client.command, client.path.partition("?")[0])
    body = bytearray(client.rfile.read(int(client.headers.get("Content-Length") or 0)))
    if fault and fault.kind == "status":
        _answer(client, fault)
        return
    server = HTTPConnection("127.0.0.1", proxy.upstream)
    try:
        server.putrequest(client.command, client.path, skip_host=True, skip_accept_encoding=True)
        for name, value in client.headers.items():
            server.putheader(name, value)
        server.endheaders()
        if fault and body and fault.kind in ("broken", "flip"):
            _damage(client, server, body, fault)
            fault = None
        else:
            server.send(bytes(body))
        _answer_as(proxy, client, server.getresponse(), fault)
    except ConnectionRefusedError:
        _reset(client)
    finally:
        server.close()


def _damage(client: BaseHTTPRequestHandler, server: HTTPConnection, body: bytearray, fault: Fault) -> None:
    """Send a part of a body and reset, or all with a flipped bit."""
    if fault.kind == "broken":
        server.send(bytes(body[: fault.at]))
        _reset(client, fault)
    body[fault.at % len(body)] ^= 1
    server.send(bytes(body))
    fault.fire()


def _answer(client: BaseHTTPRequestHandler, fault: Fault) -> None:
    client.send_response(fault.status)
    client.send_header("Content-Length", str(len(fault.body)))
    client.end_headers()
    client.wfile.write(fault.body if client.command != "HEAD" else b"")
    fault.fire()


def _answer_as(proxy: FaultProxy, client: BaseHTTPRequestHandler, answer: HTTPResponse, fault: Fault | None) -> None:
    if fault and fault.kind == "lost":
        answer.read()
        _reset(client, fault)
    if fault and answer.length == 0:
        _meet(client, fault, b"")
    client.send_response_only(answer.status, answer.reason)
    for name, value in answer.getheaders():
        client.send_header(name, value)
    client.end_headers()
    sent, at = 0, fault.at % (answer.length or 1) if fault else -1  # within any answer
    for piece in iter(lambda: answer.read(PIECE), b""):
        if fault and sent <= at < sent + len(piece):
            client.wfile.write(piece[: at - sent])
            _meet(client, fault, piece[at - sent :])
        else:
            proxy.pace(len(piece))
            client.wfile.write(piece)
        sent += len(piece)


def _meet(client: BaseHTTPRequestHandler, fault: Fault, rest: bytes) -> None:
    """Let the fault happen in the middle of an answer, and send the rest of the piece."""
    fault.action()
    if fault.kind == "reset":
        _reset(client, fault)
    if fault.kind == "cut":
        client.connection.shutdown(socket.SHUT_RDWR)
        fault.fire()
        raise ConnectionResetError
    if fault.kind in ("stall", "call"):
        select.select([client.connection], [], [], fault.seconds)  # until the client gives up
        fault.fire()
        client.wfile.write(rest)
    elif rest:
        client.wfile.write(bytes([rest[0] ^ 1]) + rest[1:])
        fault.fire()


def _reset(client: BaseHTTPRequestHandler, fault: Fault | None = None) -> NoReturn:
    """Reset the connection at once, before the server closes it properly."""
    client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(client.connection.detach())
    if fault:
        fault.fire()
    raise ConnectionResetError


def fault_proxy(upstream: int) -> closing[FaultProxy]:
    """A proxy for the block."""
    return closing(FaultProxy(upstream))
