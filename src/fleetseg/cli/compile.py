"""``fleetseg compile``: a network becomes one C file and a library that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetseg.cli.options import (
    ThreadsOption,
    parse_size,
    print_json,
)
from fleetseg.cli.own_network import NetworkOption, use_network_of

_HELP = """Turn a network into one C file and a shared library for images of one size.

DIR gets NAME.c (C11, weights inside), NAME.h, NAME.so and NAME.json (classes, palette, sizes, target). Every command
that takes a MODEL takes DIR: fleetseg predict DIR photo.jpg --out results. The C interface is described in
docs/output-format.md.

\b
Examples:
  fleetseg compile enet-camvid --size 480x360 --out compiled
  fleetseg compile enet-camvid --size 640x360 --precision bf16 --threads 2 --out compiled
  fleetseg compile runs/enet --size 640x360 --target x86-64-v3 --out compiled
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compile", help=_HELP, short_help="Turn a network into a C file and a library.")(compile_command)


def compile_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A packaged name, a checkpoint or a run's folder.")],
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Size of the images, such as 640x360.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="NAME",
            help="host, x86-64-v4-amx, x86-64-v4-bf16, x86-64-v4 (AVX-512), x86-64-v3 (AVX2) or generic.",
        ),
    ] = "host",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="fp32, or bf16: half the memory, two to three times the speed where the processor has it.",
        ),
    ] = "fp32",
    threads: ThreadsOption = None,
    dump: Annotated[
        Path | None,
        typer.Option("--dump", metavar="DIR", help="Also write the graph after each pass, and the schedule."),
    ] = None,
    own_network: NetworkOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the library's description for programs.")] = False,
) -> None:
    """Run the command."""
    import json

    from rich.console import Console

    from fleetseg.compilation import write_library

    seen = parse_size(size)
    use_network_of(model, own_network)
    with Console(stderr=True).status(f"Compiling {model}: the C compiler takes its time"):
        path = write_library(model, seen, out, precision=precision, target=target, threads=threads, dump=dump)
    description = json.loads(path.read_text())
    if as_json:
        print_json(description)
        return
    library = out / description["library"]
    print(f"{library}: {library.stat().st_size / 1e6:.1f} MB, for {description['target']}")
    print(f"{path.with_suffix('.c')}: {path.with_suffix('.c').stat().st_size / 1e6:.1f} MB of C")
    print(f"images of {description['width']}x{description['height']}, arena {description['arena_bytes'] / 1e6:.1f} MB")
