"""The list of networks: name → constructor, paper and options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fleetseg.errors import UnknownNameError, UsageError
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.biopsy_espnet import BiopsyESPNet
from fleetseg.models.biopsy_mehta import BiopsyMehta
from fleetseg.models.biopsy_resnet18 import BiopsyResNet18
from fleetseg.models.channels import narrow
from fleetseg.models.deeplab import DeepLabV2
from fleetseg.models.dilation import Dilation
from fleetseg.models.enet import Choices, ENet, ENetEncoder
from fleetseg.models.erfnet import ERFNet, ERFNetEncoder
from fleetseg.models.espnet import ESPNet, ESPNetA, ESPNetB, ESPNetC
from fleetseg.models.espnet_switches import Switches, SwitchesOfA
from fleetseg.models.fcn import FCN8s
from fleetseg.models.lrr import LRR
from fleetseg.models.pspnet import PSPNet
from fleetseg.models.refinenet import RefineNet
from fleetseg.models.segnet import SegNet
from fleetseg.models.segnet_basic import SegNetBasic
from fleetseg.models.sqnet import SQNet
from fleetseg.models.users import build_user_network, user_options
from fleetseg.variants import CHANNELS, VARIANTS, is_users, resolved, short_name, split_options

ENET_PAPER = "ENet, arXiv 1606.02147"
ESPNET_PAPER = "ESPNet, arXiv 1803.06815"
ERFNET_PAPER = "ERFNet, Romera et al. 2018"
DILATION_PAPER = "Dilation, arXiv 1511.07122"
REFINENET_PAPER = "RefineNet, arXiv 1611.06612"


@dataclass(frozen=True)
class NetworkEntry:
    """One registered network."""

    name: str
    build: Callable[..., SegmentationNetwork]
    paper: str
    #: Where in the paper it is defined.
    where: str
    #: The registered network that stage 1 of two-stage training uses, or None.
    encoder: str | None = None
    #: A dataclass with defaults: the options that `build` takes as ``**`` of its last parameter, or None.
    choices: type[Any] | None = None

    def default_options(self) -> dict[str, Any]:
        """Legal options beyond the class and channel counts, with their defaults."""
        if is_users(self.name):
            return user_options(self.name)
        parameters = inspect.signature(self.build).parameters
        named = {
            name: parameter.default
            for name, parameter in parameters.items()
            if name not in ("num_classes", "in_channels") and parameter.kind is not parameter.VAR_KEYWORD
        }
        return named | (dataclasses.asdict(self.choices()) if self.choices else {})

    def option_names(self) -> tuple[str, ...]:
        """Names of the legal options."""
        return tuple(self.default_options())


_ENTRIES = (
    NetworkEntry("enet", ENet, ENET_PAPER, "Table 1", "enet-encoder", Choices),
    NetworkEntry("enet-encoder", ENetEncoder, ENET_PAPER, "Table 1, stages 0–3; section 5.2", None, Choices),
    NetworkEntry("espnet-a", ESPNetA, ESPNET_PAPER, "Fig. 4(a)", None, SwitchesOfA),
    NetworkEntry("espnet-b", ESPNetB, ESPNET_PAPER, "Fig. 4(b)", None, Switches),
    NetworkEntry("espnet-c", ESPNetC, ESPNET_PAPER, "Fig. 4(c)", None, Switches),
    NetworkEntry("espnet", ESPNet, ESPNET_PAPER, "Fig. 4(d)", "espnet-c", Switches),
    NetworkEntry("segnet", SegNet, "SegNet, arXiv 1511.00561", "Fig. 2"),
    NetworkEntry("segnet-basic", SegNetBasic, "SegNet-Basic, arXiv 1505.07293", "section 3"),
    NetworkEntry("erfnet", ERFNet, ERFNET_PAPER, "Table I", encoder="erfnet-encoder"),
    NetworkEntry("erfnet-encoder", ERFNetEncoder, ERFNET_PAPER, "Table I, layers 1–16"),
    NetworkEntry("sqnet", SQNet, "SQNet, Treml et al. 2016", "Fig. 2"),
    NetworkEntry("fcn-8s", FCN8s, "FCN, arXiv 1411.4038", "Fig. 3"),
    NetworkEntry("deeplab-v2", DeepLabV2, "DeepLab-v2, arXiv 1606.00915", "section 3, without the CRF"),
    NetworkEntry("pspnet", PSPNet, "PSPNet, arXiv 1612.01105", "Fig. 3"),
    NetworkEntry("dilation-8", Dilation, DILATION_PAPER, "Table 1, large"),
    NetworkEntry("refinenet-101", RefineNet, REFINENET_PAPER, "Fig. 2(c), ResNet-101"),
    NetworkEntry("lrr-4x", LRR, "LRR, arXiv 1605.02264", "Fig. 4, VGG16"),
    NetworkEntry("biopsy-mehta", BiopsyMehta, "Mehta et al., arXiv 1709.02554", "Fig. 3"),
    NetworkEntry("biopsy-resnet18", BiopsyResNet18, ESPNET_PAPER, "Table 1(d), its SegNet"),
    NetworkEntry("biopsy-espnet", BiopsyESPNet, "Y-Net, arXiv 1806.01313", "segmentation branch, ESP"),
)
_BY_NAME = {entry.name: entry for entry in _ENTRIES}


def network_names() -> tuple[str, ...]:
    """Names of all registered networks, in the papers' order."""
    return tuple(_BY_NAME)


def network_entry(name: str) -> NetworkEntry:
    """The entry of that name, or of the network that a variant's name means; `UnknownNameError` offers the nearest."""
    if is_users(name):
        short = short_name(name)
        return NetworkEntry(short, partial(build_user_network, short), f"class {short.rpartition(':')[2]}", "own")
    network, _ = resolved(name, {})
    if network not in _BY_NAME:
        raise UnknownNameError("network", name, (*_BY_NAME, *VARIANTS))
    return _BY_NAME[network]


def build_network(name: str, num_classes: int, in_channels: int = 3, **options: Any) -> SegmentationNetwork:
    """Build a registered network, a named variant of one, or a user's (`register_network`), with fresh weights.

    The options ``channels`` and ``reads`` make layers of any of them narrower (`channels.narrow`).
    Raises `UsageError` for a class count outside 2–255, no input channel, an unknown option or an illegal
    value, `UnknownNameError` for an unknown name.
    """
    entry = network_entry(name)
    _, options = resolved(name, options)
    own, narrower = split_options(options)
    if not 2 <= num_classes <= 255:
        raise UsageError(f"num_classes is {num_classes}; a network of 2 to 255 classes can be built")
    if in_channels < 1:
        raise UsageError(f"in_channels is {in_channels}; at least 1 is needed")
    _check_options(entry, own)
    try:
        network = entry.build(num_classes=num_classes, in_channels=in_channels, **own)
    except ValueError as error:
        raise UsageError(f"network '{entry.name}': {error}") from error
    narrow(network, narrower)
    network.registered_name, network.options = entry.name, dict(options)
    return network


def _check_options(entry: NetworkEntry, options: Mapping[str, Any]) -> None:
    """Names and types; the constructors check values."""
    defaults = entry.default_options()
    for name, value in options.items():
        if name not in defaults:
            raise UsageError(f"network '{entry.name}' has no option '{name}'; it has: {', '.join(defaults)}")
        if type(value) is not type(defaults[name]) and defaults[name] is not None:
            kind = type(defaults[name]).__name__
            raise UsageError(f"network '{entry.name}': {name} is {value!r}; a value of type {kind} is needed")


def build_encoder(network: SegmentationNetwork) -> SegmentationNetwork:
    """The network that stage 1 of two-stage training uses for `network`, with the same widths and depths.

    Raises `UsageError` if it has none.
    """
    entry = network_entry(network.registered_name)
    if entry.encoder is None:
        raise UsageError(f"network '{entry.name}' has no separate encoder to train first")
    if CHANNELS in network.options:
        raise UsageError(f"a compressed '{entry.name}' has no separate encoder to train first; train all of it")
    everything = {**entry.default_options(), **network.options}
    legal = network_entry(entry.encoder).option_names()
    options = {key: value for key, value in everything.items() if key in legal}
    return build_network(entry.encoder, network.num_classes, network.in_channels, **options)
