"""Every row in which the two papers print a size: what is printed, and what is built to count it anew.

ENet (arXiv 1606.02147), Table 3; ESPNet (arXiv 1803.06815), Tables 1 and 2 and Fig. 3(g) and 7(a). Nothing here is a
result: `paper_table` builds, counts and compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: A row's quantity. parameters: millions (networks) or a number (modules); GFLOPs: at 640×360, as ENet counts;
#: fp16 MB: MiB at 2 bytes a parameter; MB: 10⁶ bytes at 4 bytes a parameter; memory: MiB that a module's convolutions
#: put out; field: side of a module's effective receptive field.
QUANTITIES = ("parameters", "GFLOPs", "fp16 MB", "MB", "memory", "field")


@dataclass(frozen=True)
class PaperRow:
    """One printed number."""

    where: str
    row: str
    quantity: str
    #: As printed: its digits say how exact it is.
    printed: str
    #: A registered network or variant; or a module, with Fig. 3(g)'s sizes.
    network: str | None = None
    module: str | None = None
    classes: int = 20
    options: dict[str, Any] = field(default_factory=dict)
    #: Why ours differs.
    note: str = ""


_ENET_FLOPS = "their counter's output size of a dilated convolution is too large (W + 2d − 2)"
_ENET_COUNT = "print counts the 8,352 running statistics of BatchNorm too"
_SEGNET_FLOPS = "print pools 45 rows to 22; the authors' SegNet rounds up"
_SEGNET_COUNT = "print counts no biases but BatchNorm's running statistics"
_20_CLASSES = "print is the count for 20 classes"
_NO_BIASES = "print counts the weights without the biases"
_STATISTICS = "print counts BatchNorm's running statistics too"
_REFINENET = "print is near the ResNet-101 with deep stem alone (42.62 M)"
_LRR = "not reproduced; no published version has so few"
_STRIDED = "not reproduced; Table 2(c) says no more than strided convolution"
_MISPRINT = "misprint: M(n² + N) = 100 · (9 + 100)"
_SAVED_FILE = "print is a saved file in MiB"
_ENET_SIZE = "not reproduced; 4 bytes × parameters, as for ESPNet, gives ours"
_C1_SIZE = "not reproduced; 4 bytes × 0.276 M gives ours"


def _network(where: str, row: str, quantity: str, printed: str, network: str, **more: Any) -> PaperRow:
    note, classes = more.pop("note", ""), more.pop("classes", 20)
    return PaperRow(where, row, quantity, printed, network=network, classes=classes, options=more, note=note)


_ENET = (
    _network("ENet Table 3", "SegNet", "GFLOPs", "286.03", "segnet", note=_SEGNET_FLOPS),
    _network("ENet Table 3", "SegNet", "parameters", "29.46", "segnet", note=_SEGNET_COUNT),
    _network("ENet Table 3", "SegNet", "fp16 MB", "56.2", "segnet"),
    _network("ENet Table 3", "ENet", "GFLOPs", "3.83", "enet", note=_ENET_FLOPS),
    _network("ENet Table 3", "ENet", "parameters", "0.37", "enet", note=_ENET_COUNT),
    _network("ENet Table 3", "ENet", "fp16 MB", "0.7", "enet"),
)

_TABLE_1 = (
    _network("ESPNet Table 1(a)", "ENet", "parameters", "0.364", "enet"),
    _network("ESPNet Table 1(a)", "ERFNet", "parameters", "2.06", "erfnet"),
    _network("ESPNet Table 1(a)", "ESPNet", "parameters", "0.364", "espnet"),
    _network("ESPNet Table 1(c)", "ESPNet", "parameters", "0.364", "espnet", note=_20_CLASSES, classes=21),
    _network("ESPNet Table 1(c)", "SegNet", "parameters", "29.5", "segnet", classes=21),
    _network("ESPNet Table 1(c)", "RefineNet", "parameters", "42.6", "refinenet-101", note=_REFINENET, classes=21),
    _network("ESPNet Table 1(c)", "DeepLab", "parameters", "44.04", "deeplab-v2", classes=21),
    _network("ESPNet Table 1(c)", "PSPNet", "parameters", "65.7", "pspnet", classes=21),
    _network("ESPNet Table 1(c)", "LRR", "parameters", "48", "lrr-4x", note=_LRR, classes=21),
    _network("ESPNet Table 1(c)", "Dilation-8", "parameters", "141.13", "dilation-8", note=_NO_BIASES, classes=21),
    _network("ESPNet Table 1(c)", "FCN-8s", "parameters", "134.5", "fcn-8s", classes=21),
    _network("ESPNet Table 1(d)", "ESPNet", "parameters", "2.75", "biopsy-espnet", classes=8),
    _network("ESPNet Table 1(d)", "SegNet", "parameters", "12.80", "biopsy-resnet18", classes=8),
    _network("ESPNet Table 1(d)", "Mehta et al.", "parameters", "26.03", "biopsy-mehta", note=_STATISTICS, classes=8),
)  # fmt: skip

_TABLE_2 = (
    _network("ESPNet Table 2(a)", "ReLU", "parameters", "0.183", "espnet-a-relu"),
    _network("ESPNet Table 2(a)", "PReLU", "parameters", "0.183", "espnet-a"),
    _network("ESPNet Table 2(b)", "ESP", "parameters", "0.183", "espnet-a"),
    _network("ESPNet Table 2(b)", "ESP − RL", "parameters", "0.183", "espnet-a-no-residual"),
    _network("ESPNet Table 2(c)", "strided conv.", "parameters", "0.274", "espnet-a-strided-conv", note=_STRIDED),
    _network("ESPNet Table 2(c)", "strided ESP", "parameters", "0.183", "espnet-a"),
    _network("ESPNet Table 2(d)", "C1", "parameters", "0.276", "espnet-c1"),
    _network("ESPNet Table 2(d)", "C1", "MB", "1.2", "espnet-c1", note=_C1_SIZE),
    _network("ESPNet Table 2(d)", "C2", "parameters", "0.187", "espnet-c"),
    _network("ESPNet Table 2(d)", "C2", "MB", "0.8", "espnet-c"),
    _network("ESPNet Table 2(d)", "C3", "parameters", "0.187", "espnet-c3"),
    _network("ESPNet Table 2(d)", "C3", "MB", "0.8", "espnet-c3"),
    *(
        _network("ESPNet Table 2(e)", f"K = {k}", "parameters", printed, "espnet-a", branches=k)
        for k, printed in ((2, "0.358"), (4, "0.215"), (5, "0.183"), (6, "0.165"), (7, "0.152"), (8, "0.143"))
    ),
    *(
        _network("ESPNet Table 2(e)", f"K = {k}", "field", printed, "espnet-a", branches=k)
        for k, printed in ((2, "5"), (4, "17"), (5, "33"), (6, "65"), (7, "129"), (8, "257"))
    ),
    _network("ESPNet Table 2(f)", "ESPNet-A", "parameters", "0.183", "espnet-a"),
    _network("ESPNet Table 2(f)", "ESPNet-B", "parameters", "0.186", "espnet-b"),
    _network("ESPNet Table 2(f)", "ESPNet-C", "parameters", "0.187", "espnet-c"),
    _network("ESPNet Table 2(f)", "ESPNet-C†", "parameters", "0.206", "espnet-c-input-aware"),
    *(
        _network("ESPNet Table 2(g)", f"ESPNet-C, α3 = {depth}", quantity, printed, "espnet-c", alpha3=depth)
        for depth, parameters, size in ((3, "0.187", "0.75"), (5, "0.252", "1.01"), (8, "0.349", "1.40"))
        for quantity, printed in (("parameters", parameters), ("MB", size))
    ),
    *(
        _network("ESPNet Table 2(g)", f"ESPNet, α3 = {depth}", quantity, printed, "espnet", alpha3=depth, note=note)
        for depth, parameters, size in ((3, "0.202", "0.82"), (5, "0.267", "1.07"), (8, "0.364", "1.46"))
        for quantity, printed, note in (
            ("parameters", parameters, ""),
            ("MB", size, "4 bytes × parameters gives ours" if depth == 3 else ""),
        )
    ),
)

_FIGURE_3G = tuple(
    PaperRow(
        "ESPNet Fig. 3(g)",
        label,
        quantity,
        printed,
        module=module,
        note=_MISPRINT if printed == "11,009" else "",
    )
    for label, module, parameters, memory, reach in (
        ("MobileNet", "mobilenet", "11,009", "2.39", "3"),
        ("ShuffleNet", "shufflenet", "2,180", "1.67", "3"),
        ("Inception", "inception", "28,000", "2.39", "3"),
        ("ResNext", "resnext", "38,000", "8.37", "3"),
        ("ASP", "asp", "450,000", "5.98", "33"),
        ("ESP", "esp", "20,000", "1.43", "33"),
    )
    for quantity, printed in (("parameters", parameters), ("memory", memory), ("field", reach))
)

_FIGURE_7A = (
    _network("ESPNet Fig. 7(a)", "ENet", "MB", "1.64", "enet", note=_ENET_SIZE),
    _network("ESPNet Fig. 7(a)", "ERFNet", "MB", "7.95", "erfnet", note=_SAVED_FILE),
    _network("ESPNet Fig. 7(a)", "ESPNet", "MB", "1.46", "espnet"),
)

#: In the papers' order.
PAPER_ROWS = (*_ENET, *_TABLE_1, *_FIGURE_3G, *_TABLE_2, *_FIGURE_7A)
