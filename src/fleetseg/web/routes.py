"""The addresses below /v1 and those for machines that watch over machines."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from fleetseg.web import samples
from fleetseg.web.problems import KINDS, MEDIA_TYPE, Problem
from fleetseg.web.request_body import read_image_bytes
from fleetseg.web.segmenting import Answer, Format, Wanted, answer
from fleetseg.web.served_model import ServedModel
from fleetseg.web.service import Service

_LONGEST_ID = 100


def _refusals(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Problem documents for the OpenAPI description."""
    example = {"type": "urn:fleetseg:problem:KIND", "title": "…", "status": 0, "detail": "one sentence"}
    return {
        KINDS[kind][0]: {"description": KINDS[kind][1], "content": {MEDIA_TYPE: {"example": example}}} for kind in kinds
    }


_SEGMENT_DESCRIPTION = """The body is the bytes of one image (PNG, JPEG, TIFF, WebP, BMP or GIF), or a form whose file
`image` it is. The answer is the image's mask: an indexed PNG of the image's own size whose values are class ids and
whose palette shows them. `format=overlay` gives the classes over the image, `format=json` sizes, shares and latency,
with `maps=true` also class map (values are ids) and confidence (255 is certain) as grey PNG data URLs.
`X-Request-ID` is echoed."""
_IMAGE_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}
        },
    },
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The answer", "content": {"image/png": {}, "application/json": {}}},
    **_refusals("bad-request", "key-needed", "not-found", "too-slow", "too-large", "unsupported-type", "bad-image"),
    **_refusals("overloaded", "failed", "not-ready", "took-too-long"),
}


def router(service: Service) -> APIRouter:
    """All routes of one service."""
    routes = APIRouter()

    @routes.post(
        "/v1/segment",
        summary="Label every pixel of an image",
        description=_SEGMENT_DESCRIPTION,
        response_class=Response,
        responses=_ANSWERS,
        openapi_extra={"requestBody": _IMAGE_BODY},
    )
    async def segment(
        request: Request,
        model: Annotated[str | None, Query(description="which network; default: the first of /v1/models")] = None,
        engine: Annotated[str, Query(description="auto is the fastest that is ready")] = "auto",
        format: Annotated[Format, Query(description="what comes back")] = "mask",
        opacity: Annotated[float, Query(ge=0, le=1, description="of the overlay's colours")] = 0.5,
        legend: Annotated[bool, Query(description="put a legend under the overlay")] = True,
        maps: Annotated[bool, Query(description="JSON with class map and confidence")] = False,
    ) -> Response:
        started = time.monotonic()
        try:
            _check_parameters(request)
            wanted = Wanted(format, engine, opacity, legend, maps, confidence=maps and format == "json")
            done = await _segmented(service, request, service.model(model), wanted, started)
            response = Response(done.content, 200, _facts_headers(done), done.media_type)
        except Exception as error:
            response = service.noted(error).response()
        response.headers.update(_echo(request))
        service.metrics.answered(response.status_code, time.monotonic() - started)
        return response

    @routes.get("/v1/models", summary="The networks, their classes and engines, and the limits of a request")
    async def models() -> dict[str, Any]:
        limits = service.settings
        return {
            "models": [_described(served) for served in service.models.values()],
            "default": service.default,
            "samples": [f"/v1/samples/{number}" for number in range(samples.COUNT)],
            "limits": {
                "max_bytes": limits.max_bytes,
                "max_pixels": limits.max_pixels,
                "max_seconds": limits.max_seconds,
                "queue": limits.queue,
            },
        }

    @routes.get("/v1/samples/{number}", summary="A built-in scene to try things with", response_class=Response)
    async def sample(number: int) -> Response:
        if not 0 <= number < samples.COUNT:
            raise Problem("not-found", f"there is no sample {number}; they count from 0 to {samples.COUNT - 1}")
        deadline = time.monotonic() + service.settings.max_seconds
        content = await service.queue.run(lambda _alone: samples.sample_jpeg(number), deadline)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})

    @routes.get("/healthz", summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz", summary="Whether new requests are taken", responses=_refusals("not-ready"))
    async def readyz() -> dict[str, str]:
        service.check_ready()
        return {"status": "ready"}

    @routes.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


async def _segmented(service: Service, request: Request, served: ServedModel, wanted: Wanted, started: float) -> Answer:
    service.check_ready()
    limits = service.settings
    # Before the body is read: what would be refused need not be sent.
    service.queue.check_room()
    deadline = started + limits.max_seconds
    with service.uploads.share() as take:
        content = await read_image_bytes(request, limits.max_bytes, deadline, take)
        work = partial(answer, content, served, wanted, limits.max_pixels)
        done = await service.queue.run(work, deadline)
    service.metrics.segmented(served.name, done.facts["engine"], "post", done.seconds)
    return done


def _check_parameters(request: Request) -> None:
    """A misspelt parameter would else be ignored in silence."""
    known = {"model", "engine", "format", "opacity", "legend", "maps"}
    for name in request.query_params:
        if name not in known:
            raise Problem("bad-request", f"there is no parameter {name[:40]!r}; known: {', '.join(sorted(known))}")


def _described(served: ServedModel) -> dict[str, Any]:
    metadata = served.metadata
    return {
        "name": served.name,
        "network": metadata.network.name,
        "engines": list(served.engines),
        "compiled_sizes": [list(size) for size in served.compiled_sizes],
        "train_size": metadata.train_size,
        "classes": [
            {"id": number, "name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
            for number, (name, colour) in enumerate(zip(metadata.classes, metadata.palette, strict=True))
        ],
        "licence": metadata.licence,
    }


def _facts_headers(done: Answer) -> dict[str, str]:
    facts = done.facts
    return {
        "X-Engine": facts["engine"],
        "Server-Timing": ", ".join(f"{stage};dur={1000 * seconds:.2f}" for stage, seconds in done.seconds.items()),
    }


def _echo(request: Request) -> dict[str, str]:
    """The caller's own name for a request, if it is harmless."""
    own = request.headers.get("x-request-id", "")
    return {"X-Request-ID": own} if 0 < len(own) <= _LONGEST_ID and own.isascii() and own.isprintable() else {}
