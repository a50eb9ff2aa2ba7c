"""The service as a process: its start, its end, and what it leaves on the disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PngOf = Callable[..., bytes]
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(colour_onnx: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a service whose home and temporary folders are watched: process and address."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*options: str, model: str = str(colour_onnx)) -> tuple[subprocess.Popen[str], str]:
        for name in ("home", "tmp"):
            (tmp_path / name).mkdir(exist_ok=True)
        environment = {**os.environ, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
        environment.pop("FLEETSEG_CACHE", None)
        environment.pop("XDG_CACHE_HOME", None)
        words = [sys.executable, "-m", "fleetseg", "serve", model, "--port", "0", "--json", *options]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path / "tmp"
        )
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return process, json.loads(line)["url"]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_sigterm_answers_what_was_taken_and_leaves_nothing(start: Start, png_of: PngOf, tmp_path: Path) -> None:
    process, url = start("--no-compile")
    picture = np.random.default_rng(0).integers(0, 256, (1200, 1400, 3), dtype=np.uint8)
    upload = png_of(picture)
    assert len(upload) > 4_000_000  # far beyond what form parsers keep in memory by themselves
    form = httpx.post(f"{url}/v1/segment", files={"image": upload}, timeout=60)
    assert form.status_code == 200
    held = socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0))
    head = f"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(upload)}\r\n\r\n".encode()
    held.sendall(head + upload[:-1000])
    # The service has read the head when it answers a later request.
    assert httpx.get(f"{url}/healthz").status_code == 200
    process.send_signal(signal.SIGTERM)
    while True:
        try:
            httpx.get(f"{url}/healthz", timeout=5)
        except httpx.TransportError:
            break  # nothing new is taken
    held.sendall(upload[-1000:])
    received = held.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"\x89PNG" in received
    assert process.wait(60) == 0
    assert [path for name in ("home", "tmp") for path in (tmp_path / name).rglob("*")] == []


def test_streams_are_told_that_the_service_ends(start: Start, png_of: PngOf) -> None:
    process, url = start("--no-compile")
    with connect(f"{url.replace('http', 'ws')}/v1/stream") as stream:
        stream.send(png_of(np.zeros((8, 8, 3), np.uint8)))
        assert isinstance(stream.recv(timeout=30), bytes)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=30)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
    assert process.wait(60) == 0


@pytest.mark.slow
def test_a_network_goes_on_compiled_and_only_the_data_folder_is_written(
    start: Start, png_of: PngOf, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    process, url = start("--data-dir", str(data), "--size", "64x48", model="enet-camvid")
    upload = png_of(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    first = httpx.post(f"{url}/v1/segment", content=upload)
    assert (first.status_code, first.headers["x-engine"]) == (200, "onnxruntime")
    end = time.monotonic() + 250
    while httpx.get(f"{url}/v1/models").json()["models"][0]["compiled_sizes"] != [[64, 48]]:
        assert time.monotonic() < end
        time.sleep(0.5)
    assert httpx.post(f"{url}/v1/segment", content=upload).headers["x-engine"] == "native"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert "enet-camvid at 64×48 is compiled and runs on engine native" in process.communicate()[1]
    assert {path.suffix for path in data.rglob("*")} == {".so"}
    assert [path for name in ("home", "tmp") for path in (tmp_path / name).rglob("*")] == []


def test_hostile_heads_are_refused_and_the_next_caller_is_answered(start: Start) -> None:
    _, url = start("--no-compile", "--max-seconds", "2")
    port = httpx.URL(url).port or 0
    hostile = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000,
        b"\x00\xff\r\n\r\n",
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n",
    ]
    for head in hostile:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head)
            assert connection.recv(100).startswith(b"HTTP/1.1 400"), head[:60]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf of it")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_port_in_use_is_one_sentence(colour_onnx: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("serve", str(colour_onnx), "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"fleetseg: port {port} of 127.0.0.1 cannot be had (")
    assert done.stderr.count("\n") == 1


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fleetseg", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
