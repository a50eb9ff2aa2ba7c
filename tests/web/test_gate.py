"""Who may call: hosts, origins, keys, paths; and the headers on every answer."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from fleetseg.web.gate import CONTENT_SECURITY_POLICY

ClientWith = Callable[..., TestClient]


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("LOCALHOST:1", 200),
     ("evil.example", 400), ("localhost.evil.example", 400), ("", 400)],
)  # fmt: skip
def test_only_known_hosts_are_answered(client: TestClient, host: str, status: int) -> None:
    """A page elsewhere could let its own name mean 127.0.0.1."""
    assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_any_host_where_none_is_set(client_with: ClientWith) -> None:
    assert client_with(hosts=None).get("/healthz", headers={"Host": "anything"}).status_code == 200


def test_pages_of_other_origins_may_not_call(client: TestClient) -> None:
    own = client.get("/healthz", headers={"Origin": "http://localhost"})
    assert own.status_code == 200
    other = client.get("/healthz", headers={"Origin": "https://evil.example"})
    assert (other.status_code, other.json()["status"]) == (403, 403)
    assert "access-control-allow-origin" not in own.headers
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("ws://localhost/v1/stream", headers={"Origin": "https://evil.example"}),
    ):
        pass
    assert refused.value.code == 1008


def test_allowed_origins_get_their_headers(client_with: ClientWith) -> None:
    client = client_with(origins=("https://friend.example",), api_key="secret")
    asked = {"Origin": "https://friend.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization"
    preflight = client.options("/v1/segment", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://friend.example"
    refused = client.get("/v1/models", headers={"Origin": "https://friend.example"})
    # Without it the page would learn nothing of the reason.
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://friend.example")
    for path in ("/healthz", "/v1/models"):
        refused = client.get(path, headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
    asked["Origin"] = "https://evil.example"
    assert client.options("/v1/segment", headers=asked).status_code == 400


def test_keys(client_with: ClientWith) -> None:
    plain = client_with(api_key="secret")
    assert plain.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200
    assert plain.get("/v1/models", headers={"X-API-Key": "secret"}).status_code == 200
    for wrong in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "Basic secret"}, {"X-API-Key": "Secret"}):
        response = plain.get("/v1/models", headers=wrong)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    for path in ("/v1/segment", "/v1/samples/0", "/metrics", "/openapi.json"):
        assert plain.get(path).status_code == 401
    for path in ("/", "/docs", "/healthz", "/readyz", "/page/main.js"):
        assert plain.get(path).status_code == 200


def test_a_stream_takes_its_key_as_a_subprotocol(client_with: ClientWith) -> None:
    client = client_with(api_key="secret")
    right = base64.urlsafe_b64encode(b"secret").decode().rstrip("=")
    with client.websocket_connect(
        "ws://localhost/v1/stream", subprotocols=["fleetseg.v1", f"fleetseg.key.{right}"]
    ) as socket:
        assert socket.accepted_subprotocol == "fleetseg.v1"
    for offered in ([], ["fleetseg.v1"], ["fleetseg.key.d3Jvbmc"], ["fleetseg.key.!"]):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("ws://localhost/v1/stream", subprotocols=offered),
        ):
            pass


@pytest.mark.parametrize(
    "path",
    ["/page/../server.py", "/page/%2e%2e/server.py", "/page/..%2f..%2fetc/passwd", "/%5c", "/a%00b", "/" + "a" * 501],
)
def test_odd_paths_are_refused(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code in (400, 404)
    assert response.headers["content-type"] == "application/problem+json"


def test_every_answer_carries_the_headers(client: TestClient) -> None:
    for path in ("/", "/healthz", "/nothing", "/v1/samples/x"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert "cache-control" in headers
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
