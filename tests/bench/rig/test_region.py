"""The proxy changes when bytes come, and nothing else."""

import http.client
import http.server
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from bench.rig.region import Distance, Region, region

BODY = bytes(range(256)) * 4096


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the Host header it got, and a body."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Host", self.headers["Host"])
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what is tested here."""


@pytest.fixture(scope="module")
def remote() -> Iterator[Region]:
    server = Server(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with region(f"http://127.0.0.1:{server.server_port}", Distance(round_trip_s=0.001)) as running:
            yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def connection(remote: Region) -> Iterator[http.client.HTTPConnection]:
    remote.reset()
    found = http.client.HTTPConnection(urlsplit(remote.endpoint).netloc, timeout=10)
    yield found
    found.close()


def test_bytes_and_host_arrive_as_they_were_sent(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/k")
    answer = connection.getresponse()
    assert answer.headers["X-Host"] == f"{connection.host}:{connection.port}"
    assert answer.read() == BODY


def test_requests_of_one_connection_are_told_apart(remote: Region, connection: http.client.HTTPConnection) -> None:
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/k")
        connection.getresponse().read()
    counters = remote.counters()
    assert counters["methods"] == {"GET": 2, "HEAD": 1}
    assert counters["connections"] == 1
    assert 2 * len(BODY) < counters["bytes"] < 2 * len(BODY) + 2000


def test_a_client_that_goes_leaves_the_proxy_serving(remote: Region) -> None:
    for _ in range(20):
        gone = http.client.HTTPConnection(urlsplit(remote.endpoint).netloc, timeout=10)
        gone.request("GET", "/k")
        gone.close()
    last = http.client.HTTPConnection(urlsplit(remote.endpoint).netloc, timeout=10)
    last.request("GET", "/k")
    assert last.getresponse().read() == BODY
    last.close()
