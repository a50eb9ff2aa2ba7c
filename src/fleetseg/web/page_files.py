"""The page's files: read once, served from memory under the names they have, so that no path can lead elsewhere."""

from __future__ import annotations

import hashlib
from importlib import resources

from fastapi import APIRouter, Request, Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: Addresses outside /page/.
_ENTRANCES = {"/": "index.html", "/docs": "docs.html"}


def router() -> APIRouter:
    """Routes for every file of the folder `page`."""
    routes = APIRouter(include_in_schema=False)
    folder = resources.files("fleetseg.web") / "page"
    names = {item.name: f"/page/{item.name}" for item in folder.iterdir() if item.is_file()}
    for name, path in (*names.items(), *((file, path) for path, file in _ENTRANCES.items())):
        suffix = "." + name.rpartition(".")[2]
        if suffix in _TYPES:
            _add(routes, path, (folder / name).read_bytes(), _TYPES[suffix])
    return routes


def _add(routes: APIRouter, path: str, content: bytes, media_type: str) -> None:
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'

    async def file(request: Request) -> Response:
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    routes.add_api_route(path, file, methods=["GET", "HEAD"])
