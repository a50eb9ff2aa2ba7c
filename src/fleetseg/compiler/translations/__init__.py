"""How each ATen operation becomes nodes of the graph: one function an operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fleetseg.compiler.capture_state import Capture
from fleetseg.compiler.translations.activations import ACTIVATIONS
from fleetseg.compiler.translations.arithmetic import ARITHMETIC
from fleetseg.compiler.translations.layers import LAYERS
from fleetseg.compiler.translations.pooling import POOLING
from fleetseg.compiler.translations.reductions import REDUCTIONS
from fleetseg.compiler.translations.views import VIEWS

#: ATen's name → what adds its nodes; it gives the name of the result or, for several, a list.
TRANSLATIONS: Mapping[str, Callable[[Capture, Any], str | list[Any]]] = {
    **LAYERS,
    **ACTIVATIONS,
    **ARITHMETIC,
    **REDUCTIONS,
    **POOLING,
    **VIEWS,
}
