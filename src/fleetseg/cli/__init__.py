"""The command line: `main` runs it; each command is a file here with ``register(app)``.

Command files are light: what is heavy (NumPy, ONNX Runtime, torch) they import inside their functions, so
that ``fleetseg --help`` answers at once.
"""

from __future__ import annotations

from fleetseg.cli.app import main

__all__ = ["main"]
