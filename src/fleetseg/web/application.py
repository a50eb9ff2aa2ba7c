"""The ASGI application of a service."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from fleetseg.web import page_files, routes
from fleetseg.web.gate import Gate
from fleetseg.web.problems import Problem, answer
from fleetseg.web.service import Service
from fleetseg.web.stream import serve_stream


def create_application(service: Service) -> ASGIApp:
    """Everything behind the gate: API, stream, page."""
    app = FastAPI(
        title="fleetseg",
        summary="Label every pixel of street images.",
        version="1",
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere; ours is /docs
        redoc_url=None,
    )
    for error in (Problem, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, answer)
    app.include_router(routes.router(service))
    app.include_router(page_files.router())

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await serve_stream(socket, service)

    gate = Gate(app, service.settings)
    origins = service.settings.origins
    if not origins:
        return gate
    # Around the gate, so that allowed pages can read its refusals, too.
    return CORSMiddleware(
        gate,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
        expose_headers=["Retry-After", "Server-Timing", "X-Engine", "X-Request-ID"],
    )
