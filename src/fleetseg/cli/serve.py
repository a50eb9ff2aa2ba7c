"""``fleetseg serve``: an HTTP service and a page that label images."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.console import complain
from fleetseg.cli.options import EngineOption, SizeOption, ThreadsOption, parse_size
from fleetseg.cli.own_network import NetworkOption
from fleetseg.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from fleetseg.compiling_process import CompilingProcesses
    from fleetseg.web.served_model import ServedModel

_HELP = """Serve networks over HTTP, with a page to try them on: http://127.0.0.1:8000/

POST an image to /v1/segment and get its mask; /docs lists everything else. Images are answered at once on ONNX
Runtime; where there is a C compiler, and torch to read the weights, networks are compiled in the background and go on
faster. Without MODEL all packaged networks are served. Images stay in memory; only compiled libraries are written, to
--data-dir. Ctrl-C or SIGTERM ends the service when everything taken is answered.

\b
Examples:
  fleetseg serve
  fleetseg serve enet-camvid --size 640x360 --port 9000
  fleetseg serve runs/enet --host 0.0.0.0 --api-key-file key.txt
  curl --data-binary @photo.jpg -H "Content-Type: image/jpeg" http://127.0.0.1:8000/v1/segment --output mask.png
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", help=_HELP, short_help="Serve networks over HTTP, with a page.")(serve)


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]", help="As for predict.  [default: all packaged networks]", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address; 0.0.0.0 for all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    size: SizeOption = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile in the background where that is possible.")
    ] = True,
    precision: Annotated[
        str,
        typer.Option("--precision", metavar="NAME", help="Of compiled networks: fp32, bf16, or auto, the faster here."),
    ] = "auto",
    queue: Annotated[
        int, typer.Option("--queue", min=0, max=100_000, metavar="N", help="Requests that may wait; more get 429.")
    ] = 32,
    max_megabytes: Annotated[
        float, typer.Option("--max-megabytes", min=0.001, max=100_000, metavar="N", help="Largest upload.")
    ] = 20.0,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", min=0.000001, max=100_000, metavar="N", help="Largest image.")
    ] = 25.0,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=0.01, max=86_400, metavar="N", help="Longest time for a request.")
    ] = 10.0,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help="Callers must send the key in this file, or in the variable FLEETSEG_API_KEY.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="URL", help="Let web pages from there call (CORS); repeatable."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Also answer to this host name; repeatable."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Where compiled libraries go.  [default: the user's cache]"),
    ] = None,
    own_network: NetworkOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line for programs once it serves.")] = False,
) -> None:
    """Run the command."""
    try:
        from fleetseg.cli.networks_to_serve import load_networks
        from fleetseg.web.server import listen, run
        from fleetseg.web.service import Service
        from fleetseg.web.settings import Settings
    except ImportError:
        raise MissingExtraError("the web service", "serve") from None

    logging.basicConfig(format="fleetseg: %(message)s", level=logging.WARNING, stream=sys.stderr)
    settings = Settings(
        workers=_workers(threads),
        queue=queue,
        max_bytes=int(max_megabytes * 1e6),
        max_pixels=int(max_megapixels * 1e6),
        max_seconds=max_seconds,
        api_key=_api_key(api_key_file),
        origins=_origins(allow_origin or []),
        hosts=_hosts(host, allow_host or []),
    )
    seen = parse_size(size) if size else None
    with ExitStack() as open_things:
        listening = open_things.enter_context(listen(host, port))
        compiling = _compiling(data_dir, open_things) if compiled and engine == "auto" else None
        networks = load_networks(models or [], engine, seen, settings.workers, compiling, precision, own_network)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        run(Service(networks, settings), listening, lambda: _announce(address, networks, as_json))


def _workers(threads: int | None) -> int:
    import cv2

    from fleetseg.runtime.threads import processors

    cv2.setNumThreads(1)  # workers share the processors already
    return threads or processors()


def _compiling(chosen: Path | None, open_things: ExitStack) -> CompilingProcesses:
    """Compilations that write below the data folder alone, and end with the service."""
    from fleetseg.atomic import check_writable
    from fleetseg.compilation import library_cache
    from fleetseg.compiling_process import CompilingProcesses

    folder = chosen or library_cache()
    check_writable(folder)
    return open_things.enter_context(CompilingProcesses(folder))


def _api_key(path: Path | None) -> str | None:
    """The key of a file or of the environment; never an argument, which every user of the machine could see."""
    if path is None:
        return os.environ.get("FLEETSEG_API_KEY") or None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--api-key-file {path}: cannot be read ({getattr(error, 'strerror', error)})") from error
    if not key or not key.isprintable():
        raise UsageError(f"--api-key-file {path}: one line with the key is needed")
    return key


def _origins(origins: Sequence[str]) -> tuple[str, ...]:
    for origin in origins:
        scheme, _, rest = origin.partition("://")
        if origin != "*" and (scheme not in ("http", "https") or not rest or "/" in rest):
            raise UsageError(f"--allow-origin {origin}: scheme and host are needed, such as https://example.org, or *")
    return tuple(origin.lower() for origin in origins)  # as browsers write them


def _hosts(host: str, allowed: Sequence[str]) -> tuple[str, ...] | None:
    """Host headers to answer: any, where every machine may call under names that only its users know."""
    from fleetseg.web.settings import LOOPBACK_HOSTS

    loopback = host in ("localhost", "::1") or host.startswith("127.")
    if not loopback and not allowed:
        return None
    own = f"[{host}]" if ":" in host else host
    return tuple(dict.fromkeys((*LOOPBACK_HOSTS, own.lower(), *(name.lower() for name in allowed))))


def _announce(address: str, networks: Sequence[ServedModel], as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps({"url": address, "models": [network.name for network in networks]}), flush=True)
        return
    complain(f"{address}/ serves {', '.join(network.name for network in networks)}; Ctrl-C ends it")
