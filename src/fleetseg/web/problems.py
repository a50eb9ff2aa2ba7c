"""Refusals and failures as RFC 9457 problem documents: one sentence each."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from fleetseg.errors import FleetsegError, ImageError, ImageTooLargeError, UnknownNameError, UsageError

MEDIA_TYPE = "application/problem+json"

#: Kind → status and title. The kind is the end of the document's "type".
KINDS = {
    "bad-request": (400, "The request cannot be meant"),
    "key-needed": (401, "An API key is needed"),
    "origin-refused": (403, "Pages of this origin may not call"),
    "not-found": (404, "There is nothing of this name"),
    "method-not-allowed": (405, "This address does not take the method"),
    "too-slow": (408, "The upload took too long"),
    "too-large": (413, "The image is too large"),
    "unsupported-type": (415, "The body is of a kind that is not taken"),
    "bad-image": (422, "The image cannot be used"),
    "overloaded": (429, "Too many requests wait already"),
    "failed": (500, "The service failed"),
    "not-ready": (503, "Not ready yet, or no longer"),
    "took-too-long": (504, "The image took too long"),
}
_KIND_OF_STATUS = {status: kind for kind, (status, _) in KINDS.items()}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A request that is answered with a problem document."""

    def __init__(self, kind: str, detail: str, retry_after: int | None = None, allow: str | None = None) -> None:
        """`retry_after` (seconds) and `allow` (methods) are the headers of these names."""
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = KINDS[kind]
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if allow is not None:
            self.headers["Allow"] = allow
        if kind == "key-needed":
            self.headers["WWW-Authenticate"] = "Bearer"

    def document(self) -> dict[str, Any]:
        """The JSON object of RFC 9457."""
        return {
            "type": f"urn:fleetseg:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": str(self),
        }

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.document(), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """Any exception as a problem; what nobody foresaw says nothing about the machine it happened on."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        kind = _KIND_OF_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "failed")
        allow = (error.headers or {}).get("Allow")
        return Problem(kind, f"{error.detail}; /docs lists what there is", allow=allow)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return Problem("bad-request", f"{first['loc'][-1]}: {first['msg']}; it is {str(first.get('input'))[:80]!r}")
    if isinstance(error, ImageTooLargeError):
        return Problem("too-large", str(error))
    if isinstance(error, ImageError):
        return Problem("bad-image", str(error))
    if isinstance(error, UnknownNameError):
        return Problem("not-found", str(error))
    if isinstance(error, UsageError):
        return Problem("bad-request", str(error))
    if isinstance(error, MemoryError):
        return Problem("too-large", "the memory that is free does not suffice; send a smaller image")
    if isinstance(error, FleetsegError):
        return Problem("failed", str(error))
    return Problem("failed", "an error that nobody foresaw; the service's log says more")


async def answer(_request: Request, error: Exception) -> JSONResponse:
    """Exception handler of the application."""
    return problem_of(error).response()
