"""Words that mean a network beside the registered names: variants, and classes in users' files. Known without torch.

A variant is a registered network with other options.

Each is a row of one of the papers' comparisons or a choice of design that they discuss. `models.build_network`, recipes
and every command take its name where they take a network's. FILE.py:CLASS is a network of the user's own; see
docs/custom-networks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A name for a network with certain options."""

    name: str
    #: The registered network.
    network: str
    #: Where it stands in that network's paper.
    where: str
    options: Mapping[str, Any] = field(default_factory=dict)


_ALL = (
    Variant("enet-no-dilation", "enet", "section 4, dilated convolutions", {"dilated": False}),
    Variant("enet-no-asymmetric", "enet", "section 4, factorizing filters", {"asymmetric": False}),
    Variant("enet-bilinear", "enet", "section 4, feature map resolution", {"unpooling": "bilinear"}),
    Variant(
        "enet-relu",
        "enet",
        "section 4, nonlinear operations",
        {"encoder_activation": "relu", "decoder_activation": "relu"},
    ),
    Variant("enet-prelu", "enet", "section 4, nonlinear operations", {"decoder_activation": "prelu"}),
    Variant("enet-32-maps", "enet", "section 4, early downsampling", {"initial_maps": 32}),
    Variant("enet-pre-activation", "enet", "section 4, nonlinear operations", {"pre_activation": True}),
    Variant("enet-1x1-projection", "enet", "section 4, dimensionality changes", {"down_kernel_size": 1}),
    Variant("enet-stochastic-depth", "enet", "section 4, regularization", {"regularisation": "depth"}),
    Variant("enet-no-dropout", "enet", "section 4, regularization", {"regularisation": "none"}),
    Variant("enet-no-bias", "enet", "section 3", {"bias": False}),
    Variant("espnet-a-relu", "espnet-a", "Table 2(a)", {"act": "relu"}),
    Variant("espnet-a-no-residual", "espnet-a", "Table 2(b)", {"residual": False}),
    Variant("espnet-a-strided-conv", "espnet-a", "Table 2(c)", {"downsampling": "conv"}),
    *(Variant(f"espnet-a-k{k}", "espnet-a", "Table 2(e)", {"branches": k}) for k in (2, 4, 6, 7, 8)),
    Variant("espnet-c1", "espnet-c", "Table 2(d), C1", {"reduce_kernel_size": 3}),
    Variant("espnet-c3", "espnet-c", "Table 2(d), C3", {"dilated": False}),
    Variant("espnet-c-input-aware", "espnet-c", "Table 2(f), C†", {"image_input": "added", "down_branches": 4}),
    Variant("espnet-c-no-fusion", "espnet-c", "section 3.1, Fig. 2", {"fusion": "off"}),
    Variant("espnet-c-fusion-first", "espnet-c", "Fig. 1(b)", {"fusion": "first"}),
    *(Variant(f"espnet-c-alpha{depth}", "espnet-c", "Table 2(g)", {"alpha3": depth}) for depth in (5, 8)),
    *(
        Variant(f"espnet-c-{module}", "espnet-c", "Fig. 5", {"module": module, "downsampling": "conv"})
        for module in ("esp", "mobilenet", "shufflenet", "inception", "resnext", "resnet")
    ),
    Variant("espnet-c-asp", "espnet-c", "Fig. 3(e)", {"module": "asp", "downsampling": "conv"}),
    *(Variant(f"espnet-alpha{depth}", "espnet", "Table 2(g)", {"alpha3": depth}) for depth in (3, 5)),
    Variant("espnet-relu", "espnet", "Table 2(a)", {"act": "relu"}),
    Variant("espnet-no-residual", "espnet", "Table 2(b)", {"residual": False}),
    Variant("espnet-no-fusion", "espnet", "section 3.1, Fig. 2", {"fusion": "off"}),
    Variant("espnet-fusion-first", "espnet", "Fig. 1(b)", {"fusion": "first"}),
    Variant("dilation-8-basic", "dilation-8", "Table 1, basic", {"large_context": False}),
    Variant("dilation-7", "dilation-8", "appendix B (KITTI)", {"context_layers": 7, "large_context": False}),
    Variant("dilation-10", "dilation-8", "appendix C (Cityscapes)", {"context_layers": 10, "large_context": False}),
    Variant("refinenet-50", "refinenet-101", "Fig. 2(c), ResNet-50", {"depth": 50}),
    Variant("biopsy-residual", "biopsy-espnet", "Y-Net's residual encoder", {"esp": False}),
)

#: Name → variant, in the papers' order.
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _ALL}


def resolved(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(network, options) that a network's or a variant's name means; `options` win over the variant's own."""
    if name not in VARIANTS:
        return name, dict(options)
    return VARIANTS[name].network, {**VARIANTS[name].options, **options}


def is_users(name: str) -> bool:
    """Whether `name` is FILE.py:CLASS, a network in a user's file."""
    return ".py:" in name


def short_name(name: str) -> str:
    """FILE.py:CLASS without the file's folder: what files of weights call the network."""
    return PurePath(name).name


#: Options of every network: layers that are narrower than they are built, and BatchNorms that leave channels aside.
#: `models.channels` builds them, `fleetseg compress` writes them.
CHANNELS, READS = "channels", "reads"


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(a network's own options, those that make its layers narrower)."""
    narrower = {key: options[key] for key in (CHANNELS, READS) if key in options}
    return {key: value for key, value in options.items() if key not in narrower}, narrower
