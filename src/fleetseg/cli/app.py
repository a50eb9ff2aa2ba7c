"""The application: its commands, its help, and what happens to errors."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetseg.cli.console import complain
from fleetseg.errors import FleetsegError

#: What shells report for a process that SIGINT ended.
INTERRUPTED = 130

_HELP = """Label every pixel of street images, on a processor, in real time: ENet and ESPNet.

\b
Segment pictures with a packaged network:
  fleetseg predict enet-camvid photo.jpg holiday/ --out results --overlay

\b
Look at data, train on it, measure the result:
  fleetseg data check --data CamVid
  fleetseg train enet-camvid --data CamVid --out runs/enet
  fleetseg evaluate runs/enet --data CamVid --split val

\b
Compare trainings, look at one, search better values:
  fleetseg runs runs --plot runs.png
  fleetseg report runs/enet
  fleetseg tune fine-tune --data mine --out searches/c --key stages.whole.loss.c=1.02:1.4

\b
Turn a network into a C file and a library that needs no engine:
  fleetseg compile enet-camvid --size 480x360 --out compiled

\b
Write it for another runtime, checked against the network:
  fleetseg export enet-camvid --format openvino --size 480x360 --out enet.xml

\b
Take from it the channels that it can do without:
  fleetseg compress enet-camvid --prune 0.3 --out pruned.safetensors

\b
Let it predict each class as often as is best for mIoU:
  fleetseg adjust runs/enet --data CamVid --out adjusted.safetensors

\b
Serve it over HTTP, with a page to try it on:
  fleetseg serve enet-camvid

\b
See how fast it is beside other engines:
  fleetseg benchmark enet-camvid --size 640x360

MODEL is a packaged name, an ONNX file or checkpoint (.safetensors) that fleetseg wrote, the published weights
of ESPNet or ERFNet (.pth), or the folder of a training run or of a compiled network. --data is a data set's folder
or the word "scenes", which is built in and needs no download. "fleetseg COMMAND --help" shows a command's options
and examples.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`arguments` None: the process's own) and return its exit status.

    0: done; 1: the work or a part of it failed; 2: the call is wrong; 130: interrupted. A user's mistakes are
    one sentence on stderr, never a traceback.
    """
    # Pillow warns of odd files that it can read all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(words or ["--help"])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) went away; without this Python complains again while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _run(words: list[str]) -> int:
    try:
        Path.cwd()
    except FileNotFoundError:
        complain("the folder in which this was started is gone; go to another one")  # PyTorch would die of it
        return 1
    try:
        status = build_app()(args=words, prog_name="fleetseg", standalone_mode=False, obj=words)
    except FleetsegError as error:
        complain(str(error))
        return error.exit_status
    except typer.Abort:
        return INTERRUPTED
    except MemoryError:
        complain("the memory that is free does not suffice; use smaller images or fewer at once")
        return 1
    except _call_errors() as error:
        _show_call_error(error)
        return 2
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(_refusal(error))
        return 1
    return status if isinstance(status, int) else 0


def _refusal(error: OSError) -> str:
    """What the file system refused; the error itself is raised if it is about no file."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):  # of writing to an open file
        return f"a file cannot be written ({error.strerror})"
    raise error


def build_app() -> typer.Typer:
    """The application with all commands, in the order of its help."""
    from fleetseg.cli import (
        adjust,
        benchmark,
        compile,
        compress,
        data,
        evaluate,
        export,
        models,
        predict,
        report,
        runs,
        serve,
        submission,
        train,
        tune,
        verify,
    )

    app = typer.Typer(help=_HELP, add_completion=False, rich_markup_mode=None)
    app.callback()(_root)
    for command in (
        predict,
        evaluate,
        submission,
        compile,
        export,
        verify,
        compress,
        adjust,
        benchmark,
        serve,
        train,
        tune,
        runs,
        report,
        models,
        data,
    ):
        command.register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from fleetseg import __version__

        print(f"fleetseg {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
]


def _root(version: _Version = False) -> None:
    """Take the options that stand before the command."""


def _call_errors() -> type[Exception]:
    """The base class of the argument parser's errors, which is typer's or click's, depending on version."""
    parents = [parent for parent in typer.BadParameter.__mro__ if parent.__name__ == "ClickException"]
    found: type[Exception] = parents[0]
    return found


def _show_call_error(error: Any) -> None:
    """One sentence and where the help is; a group called without a command shows its help itself."""
    text = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(text, file=sys.stderr)
        return
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fleetseg"
    complain(f"{' '.join(text.split()).rstrip('.')} (see {command} --help)")
