"""Small data sets on disk, the shared CamVid where it is there, and a web server that misbehaves on order."""

from __future__ import annotations

import importlib.util
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from zlib import crc32

import numpy as np
import pytest
from PIL import Image


def _module(name: str) -> ModuleType:
    """A file beside this one; tests are no package, so that it cannot be imported by name."""
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def official() -> ModuleType:
    """The writers of ``official_folders.py``."""
    return _module("official_folders")


SHARED_CAMVID = Path(__file__).parents[2].parent / "shared" / "camvid"


@pytest.fixture
def shared_camvid() -> Path:
    if not SHARED_CAMVID.is_dir():
        pytest.skip(f"{SHARED_CAMVID} is not there")
    return SHARED_CAMVID


def write_image(path: Path, size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, (10, 20, 30))
    picture.putpixel((0, 0), tuple(crc32(str(path).encode()).to_bytes(4, "big")[1:]))  # no picture is there twice
    picture.save(path)
    return path


def write_label(path: Path, values: object) -> Path:
    """A grey file; `values` is an array-like or one value for 6×4 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((4, 6), values, np.uint8) if isinstance(values, int) else np.array(values, np.uint8)
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def write_pair() -> Callable[..., None]:
    """Call with (root, image path, label path, values=0) to write a 6×4 image and its label."""

    def write(root: Path, image: str, label: str, values: object = 0) -> None:
        write_image(root / image)
        write_label(root / label, values)

    return write


@pytest.fixture
def folder(tmp_path: Path, write_pair) -> Path:
    """Own data, three classes, 200 for unlabelled: train has a and b, val has c."""
    root = tmp_path / "mine"
    write_pair(root, "images/train/a.png", "labels/train/a.png", [[0, 0, 1, 1, 2, 200]] * 4)
    write_pair(root, "images/train/b.jpg", "labels/train/b.png", 1)
    write_pair(root, "images/val/c.bmp", "labels/val/c.tif", 2)
    (root / "classes.yaml").write_text("names: [road, car, sky]\nignore_index: 200\n")
    return root


@pytest.fixture
def camvid(tmp_path: Path, write_pair) -> Path:
    """CamVid's layout: train has x and y, val has z."""
    root = tmp_path / "CamVid"
    write_pair(root, "train/x.png", "trainannot/x.png", [[0, 3, 3, 10, 11, 11]] * 4)
    write_pair(root, "train/y.png", "trainannot/y.png", 8)
    write_pair(root, "val/z.png", "valannot/z.png", 1)
    (root / "train.txt").write_text("train/x.png trainannot/x.png\ntrain/y.png trainannot/y.png\n")
    (root / "val.txt").write_text("/SegNet/CamVid/val/z.png /SegNet/CamVid/valannot/z.png\n")
    return root


class FileServer:
    """Serves `files` (path → content) at `url`; `trouble` (path → list) is worked off first, one a request.

    Trouble is a status (404, 503), or "truncate" (half the announced bytes), "wrong" (other bytes of the same
    length), "stall" (headers, then nothing), "drip" (a byte now and then), "close" (no answer at all), "redirect" (to
    the same file below /moved/), "circle" (to itself).
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.trouble: dict[str, list[int | str]] = defaultdict(list)
        self.requests: Counter[str] = Counter()
        self.over = threading.Event()
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    state: FileServer

    def do_GET(self) -> None:
        name = self.path.lstrip("/").removeprefix("moved/")
        self.state.requests[name] += 1
        trouble = self.state.trouble[name].pop(0) if self.state.trouble[name] else None
        content = self.state.files.get(name)
        if content is None:
            trouble = 404
        if trouble == "close":
            self.close_connection = True
        elif trouble in ("redirect", "circle"):
            self.send_response(302)
            self.send_header("Location", f"/moved/{name}" if trouble == "redirect" else self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif isinstance(trouble, int):
            self.send_response(trouble)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(content or b"", trouble)

    def _send(self, content: bytes, trouble: str | None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if trouble == "truncate":
            self.wfile.write(content[: len(content) // 2])
        elif trouble == "wrong":
            self.wfile.write(bytes(255 - byte for byte in content))
        elif trouble == "stall":
            self.state.over.wait(30)
        elif trouble == "drip":
            self._drip(content)
        else:
            self._write(content)

    def _drip(self, content: bytes) -> None:
        for byte in content:
            if self.state.over.wait(0.05):
                return
            if not self._write(bytes([byte])):
                return

    def _write(self, content: bytes) -> bool:
        """False if the client has gone."""
        try:
            self.wfile.write(content)
        except OSError:
            return False
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    """Run a server on a free port of 127.0.0.1."""
    state = FileServer(files)
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serving() -> Callable[[dict[str, bytes]], AbstractContextManager[FileServer]]:
    """Call with the files (path → content); the context is a running `FileServer`."""
    return _serving
