"""Networks of the two papers, their registry and their files of weights. Needs torch."""

from fleetseg.models._registry import NetworkEntry, build_encoder, build_network, network_entry, network_names
from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.users import register_network

__all__ = [
    "NetworkEntry",
    "SegmentationNetwork",
    "build_encoder",
    "build_network",
    "network_entry",
    "network_names",
    "register_network",
]
