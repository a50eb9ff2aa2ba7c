"""POST /v1/segment: answers, and every refusal as one sentence in a problem document."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fleetseg.runtime import load
from fleetseg.runtime.network_size import training_like_size
from fleetseg.web.problems import KINDS, MEDIA_TYPE
from fleetseg.web.service import Service

Picture = npt.NDArray[np.uint8]
PngOf = Callable[..., bytes]


def opened(content: bytes) -> Picture:
    return np.array(Image.open(io.BytesIO(content)))


def test_a_mask_is_an_indexed_png_of_class_ids(
    client: TestClient, noise: Picture, expected: Picture, png_of: PngOf
) -> None:
    response = client.post("/v1/segment", content=png_of(noise), headers={"X-Request-ID": "a 1"})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert response.headers["x-request-id"] == "a 1"
    assert response.headers["x-engine"] == "onnxruntime"
    image = Image.open(io.BytesIO(response.content))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.array(image), expected)
    assert image.getpalette()[:9] == [200, 0, 0, 0, 200, 0, 0, 0, 200]


@pytest.fixture
def expected(colour_onnx: Path, noise: Picture) -> Picture:
    """What the network must answer: it sees images near its training size, as in `fleetseg predict`."""
    return load(colour_onnx).predict(noise, training_like_size((37, 21), (32, 24)))


def test_a_form_is_taken_and_its_file_name_ignored(
    client: TestClient, noise: Picture, expected: Picture, png_of: PngOf, tmp_path: Path
) -> None:
    name = f"../../{tmp_path}/evil\x00.png"
    response = client.post("/v1/segment", files={"image": (name, png_of(noise), "image/png")})
    assert response.status_code == 200
    np.testing.assert_array_equal(opened(response.content), expected)
    assert not list(tmp_path.glob("*evil*"))


def test_overlay(client: TestClient, noise: Picture, expected: Picture, png_of: PngOf) -> None:
    plain = client.post("/v1/segment?format=overlay&legend=false&opacity=0", content=png_of(noise))
    np.testing.assert_array_equal(opened(plain.content), noise)
    full = client.post("/v1/segment?format=overlay&legend=false&opacity=1", content=png_of(noise))
    palette = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]])
    np.testing.assert_array_equal(opened(full.content), palette[expected])
    with_legend = client.post("/v1/segment?format=overlay", content=png_of(noise))
    assert opened(with_legend.content).shape[0] > noise.shape[0]


def test_json_with_class_map_and_confidence(
    client: TestClient, noise: Picture, expected: Picture, png_of: PngOf
) -> None:
    answer = client.post("/v1/segment?format=json&maps=true", content=png_of(noise)).json()
    mask, confidence = (opened(base64.b64decode(answer[key].partition(",")[2])) for key in ("mask", "confidence"))
    np.testing.assert_array_equal(mask, expected)
    assert confidence.shape == mask.shape
    assert confidence.min() >= 255 // 3
    assert (answer["width"], answer["height"], answer["engine"]) == (37, 21, "onnxruntime")
    assert answer["shares"]["red"] == pytest.approx((expected == 0).mean(), abs=1e-6)
    assert sum(answer["shares"].values()) == pytest.approx(1, abs=1e-5)
    assert "mask" not in client.post("/v1/segment?format=json", content=png_of(noise)).json()


@pytest.mark.parametrize(
    ("mode", "format"),
    [("1", "PNG"), ("P", "GIF"), ("LA", "PNG"), ("RGBA", "WEBP"), ("CMYK", "JPEG"), ("RGB", "TIFF"), ("I;16", "PNG")],
)
def test_every_kind_of_image(client: TestClient, noise: Picture, mode: str, format: str) -> None:
    file = Image.fromarray(noise[..., 0].astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(noise)
    stream = io.BytesIO()
    several = {"save_all": True, "append_images": [Image.new("RGB", file.size)]} if format in ("GIF", "TIFF") else {}
    (file if mode == "I;16" else file.convert(mode)).save(stream, format, **several)
    response = client.post("/v1/segment", content=stream.getvalue())
    assert (response.status_code, opened(response.content).shape) == (200, noise.shape[:2])


def test_images_of_light_are_refused_in_a_sentence(client: TestClient) -> None:
    for name in ("a.hdr", "a.tiff"):
        content = cv2.imencode(Path(name).suffix, np.ones((4, 4, 3), np.float32))[1].tobytes()
        response = client.post("/v1/segment", content=content)
        assert response.status_code == 422
        assert "8 or 16 bits" in response.json()["detail"]


def png_that_claims(width: int, height: int) -> bytes:
    """A decompression bomb: a header of enormous size before a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "headers", "query", "kind", "sentence"),
    [
        (b"", {}, "", "bad-request", "the body is empty"),
        (b"hello", {}, "", "bad-image", "is broken or no PNG, JPEG"),
        (b"x" * 50_001, {}, "", "too-large", "more than 50,000 bytes"),
        (png_that_claims(60_000, 60_000), {}, "", "too-large", "60000×60000 is 3,600,000,000 pixels"),
        (png_that_claims(50, 40), {}, "", "bad-image", "is broken and cannot be decoded"),
        (b"\xff\xd8" + 101 * b"\xff\xda\x00", {}, "", "bad-image", "more than 100 JPEG scans"),
        (b"GIF89a", {}, "", "bad-image", "is broken"),
        (b"x", {"Content-Type": "text/html"}, "", "unsupported-type", "the content type is 'text/html'"),
        (b"x", {"Content-Encoding": "gzip"}, "", "unsupported-type", "a compressed body is not taken"),
        (b"x", {"Content-Type": "multipart/form-data"}, "", "bad-request", "the form cannot be read"),
        (b"x", {}, "?model=colour", "not-found", "did you mean colours?"),
        (b"x", {}, "?formt=json", "bad-request", "there is no parameter 'formt'"),
        (b"x", {}, "?format=jpeg", "bad-request", "format: Input should be 'mask', 'overlay' or 'json'"),
        (b"x", {}, "?opacity=2", "bad-request", "opacity: Input should be less than or equal to 1"),
        (b"x", {}, "?opacity=nan", "bad-request", "opacity"),
    ],
)
def test_refusals(
    client: TestClient, content: bytes, headers: dict[str, str], query: str, kind: str, sentence: str
) -> None:
    response = client.post(f"/v1/segment{query}", content=content, headers=headers)
    problem = response.json()
    assert response.headers["content-type"] == MEDIA_TYPE
    assert problem["type"] == f"urn:fleetseg:problem:{kind}"
    assert (problem["status"], problem["title"]) == (response.status_code, KINDS[kind][1])
    assert response.status_code == KINDS[kind][0]
    assert sentence in problem["detail"]


def test_other_engines_are_named(client: TestClient, noise: Picture, png_of: PngOf) -> None:
    response = client.post("/v1/segment?engine=tpu", content=png_of(noise))
    assert response.json()["detail"] == "colours runs on onnxruntime, not on 'tpu'"
    # Without a compiler there will never be a library, which is no reason to fail in silence.
    assert client.post("/v1/segment?engine=native", content=png_of(noise)).status_code == 503


def test_a_body_without_a_length_is_bounded_too(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(10_000)

    assert client.post("/v1/segment", content=endless()).status_code == 413


def test_uploads_share_their_memory(client: TestClient, service: Service, noise: Picture, png_of: PngOf) -> None:
    with service.uploads.share() as take:
        for _ in range(16):
            take(service.settings.max_bytes)
        response = client.post("/v1/segment", content=png_of(noise))
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        assert response.json()["detail"] == "800,000 bytes of uploads are held already; try again in 1 s"
    assert client.post("/v1/segment", content=png_of(noise)).status_code == 200
    assert client.post("/v1/segment", content=b"broken").status_code == 422
    assert service.uploads.held == 0


def test_a_full_queue_answers_when_to_come_back(
    client: TestClient, service: Service, noise: Picture, png_of: PngOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.queue, "_pending", service.queue.limit + service.queue.workers)
    response = client.post("/v1/segment", content=png_of(noise))
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["detail"].startswith("4 requests wait already; try again in")


def test_what_nobody_foresaw_tells_nothing_about_the_machine(
    client: TestClient, service: Service, noise: Picture, png_of: PngOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> Any:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(service.model(None), "choose", fail)
    response = client.post("/v1/segment", content=png_of(noise))
    assert response.status_code == 500
    assert "secret" not in response.text


def test_a_harmful_request_id_is_not_echoed(client: TestClient, noise: Picture, png_of: PngOf) -> None:
    for harmful in ("x" * 101, "\x7f"):
        headers = {"X-Request-ID": harmful}
        assert "x-request-id" not in client.post("/v1/segment", content=png_of(noise), headers=headers).headers


def test_models_samples_and_metrics(client: TestClient, noise: Picture, png_of: PngOf) -> None:
    listing = client.get("/v1/models").json()
    assert listing["default"] == "colours"
    assert listing["models"][0]["classes"][1] == {"id": 1, "name": "green", "colour": "#00c800"}
    assert listing["limits"]["max_bytes"] == 50_000
    sample = client.get(listing["samples"][0])
    assert opened(sample.content).shape == (360, 640, 3)
    assert client.get("/v1/samples/99").status_code == 404
    client.post("/v1/segment", content=png_of(noise))
    client.post("/v1/segment", content=b"broken")
    text = client.get("/metrics").text
    assert 'fleetseg_requests_total{status="200"} 1.0' in text
    assert 'fleetseg_requests_total{status="422"} 1.0' in text
    assert 'fleetseg_images_total{engine="onnxruntime",model="colours",via="post"} 1.0' in text


def test_health_readiness_and_draining(client: TestClient, service: Service, noise: Picture, png_of: PngOf) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    service.draining = True
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.post("/v1/segment", content=png_of(noise)).status_code == 503


def test_the_description_lists_every_address(client: TestClient) -> None:
    paths = json.loads(client.get("/openapi.json").content)["paths"]
    assert set(paths) == {
        "/v1/segment", "/v1/models", "/v1/samples/{number}", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    assert {"200", "413", "422", "429", "504"} <= set(paths["/v1/segment"]["post"]["responses"])


def test_packaged_network_answers_as_predict(png_of: PngOf) -> None:
    from fleetseg.data.scenes import render_scene
    from fleetseg.web.segmenting import Wanted, answer
    from fleetseg.web.served_model import ServedModel

    image = render_scene(3, 64, 48)[0]
    served = ServedModel("enet-camvid", lambda threads: load("enet-camvid", threads=threads), 1, size=(64, 48))
    done = answer(png_of(image), served, Wanted(), 10_000, alone=True)
    np.testing.assert_array_equal(opened(done.content), load("enet-camvid", threads=1).predict(image, (64, 48)))
