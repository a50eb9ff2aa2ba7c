"""A service whose only network names each pixel's largest colour channel."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fleetseg.runtime import load
from fleetseg.web.application import create_application
from fleetseg.web.served_model import ServedModel
from fleetseg.web.service import Service
from fleetseg.web.settings import Settings

Picture = npt.NDArray[np.uint8]
SETTINGS = Settings(workers=2, queue=4, max_bytes=50_000, max_pixels=10_000, max_seconds=20)


@pytest.fixture
def service(colour_onnx: Path) -> Iterator[Service]:
    """Two workers, small limits."""
    served = ServedModel("colours", lambda threads: load(colour_onnx, threads=threads), SETTINGS.workers)
    made = Service([served], SETTINGS)
    yield made
    made.queue.close()


@pytest.fixture
def client(service: Service) -> TestClient:
    """Calls the application without a network."""
    return TestClient(create_application(service), base_url="http://localhost")


@pytest.fixture
def client_with(service: Service) -> Callable[..., TestClient]:
    """The same, some settings replaced."""

    def make(**changes: Any) -> TestClient:
        service.settings = replace(service.settings, **changes)
        return TestClient(create_application(service), base_url="http://localhost")

    return make


@pytest.fixture(scope="session")
def png_of() -> Callable[..., bytes]:
    """An array as the bytes of an image file."""

    def encode(picture: Picture, format: str = "PNG", **options: Any) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, format, **options)
        return stream.getvalue()

    return encode
