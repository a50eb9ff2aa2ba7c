"""Which rewrites run, in which order, and why in this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fleetseg.compiler.ir import Graph
from fleetseg.compiler.passes.absorb_borders import absorb_borders
from fleetseg.compiler.passes.add_class_map import add_class_map
from fleetseg.compiler.passes.batch_norm_to_affine import batch_norm_to_affine
from fleetseg.compiler.passes.drop_dead_channels import drop_dead_channels
from fleetseg.compiler.passes.find_index_unpooling import find_index_unpooling
from fleetseg.compiler.passes.find_pyramids import find_pyramids
from fleetseg.compiler.passes.find_response_norm import find_response_norm
from fleetseg.compiler.passes.find_unpooling import find_unpooling
from fleetseg.compiler.passes.fold_affine import fold_affine
from fleetseg.compiler.passes.fuse_epilogues import fuse_epilogues
from fleetseg.compiler.passes.lower_shuffles import lower_shuffles
from fleetseg.compiler.passes.lower_transposed_conv import lower_transposed_conv
from fleetseg.compiler.passes.only_maps import only_maps
from fleetseg.compiler.passes.place_concats import place_concats
from fleetseg.compiler.passes.split_pointwise_over_concat import split_pointwise_over_concat
from fleetseg.compiler.passes.store_bf16 import store_bf16
from fleetseg.compiler.passes.store_shuffled import store_shuffled

Pass = Callable[[Graph], Graph]

_REWRITES: tuple[Pass, ...] = (
    absorb_borders,
    find_unpooling,
    find_index_unpooling,
    # While slices are slices and a BatchNorm shows its scale.
    drop_dead_channels,
    find_response_norm,
    # What PyTorch writes with other ranks has been recognised by now.
    only_maps,
    batch_norm_to_affine,
    # Pyramids come before any splitting: an ESP module's concat is theirs.
    find_pyramids,
    split_pointwise_over_concat,
    # A BatchNorm and its activation move one after the other.
    split_pointwise_over_concat,
    # After the splitting, so that BatchNorm behind a concat folds too; before the transposed ones change shape.
    fold_affine,
    lower_transposed_conv,
    store_shuffled,
    lower_shuffles,
    fuse_epilogues,
)
"""Each takes a verified graph and gives one."""

_PLACEMENT: tuple[Pass, ...] = (place_concats, add_class_map)

#: The passes by the precision of what is stored. What is cast for a concat needs a place in it like every other part.
PASSES: Mapping[str, tuple[Pass, ...]] = {
    "fp32": (*_REWRITES, *_PLACEMENT),
    "bf16": (*_REWRITES, store_bf16, *_PLACEMENT),
}
