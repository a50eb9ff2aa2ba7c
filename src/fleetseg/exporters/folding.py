"""BatchNorm inside of the convolution before it, where the two are neighbours in an `nn.Sequential`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

#: A module's place: the one that holds it, and its name there.
Place = tuple[nn.Module, str]


def fold_batch_norms(module: nn.Module) -> None:
    """Fold in place, for inference. A convolution or norm that is used twice stays as it is."""
    uses = Counter(id(one) for _, one in module.named_modules(remove_duplicate=False))
    for sequence in [one for one in module.modules() if _is_sequence(one)]:
        for (holder, name), (other, place) in pairwise(_places(sequence)):
            conv, norm = holder.get_submodule(name), other.get_submodule(place)
            # Exact types: a subclass may do more.
            if type(norm) is not nn.BatchNorm2d or type(conv) not in (nn.Conv2d, nn.ConvTranspose2d):
                continue
            if _is_settled(conv, norm) and uses[id(conv)] == uses[id(norm)] == 1:
                transposed = isinstance(conv, nn.ConvTranspose2d)
                setattr(holder, name, fuse_conv_bn_eval(conv, norm, transposed))  # type: ignore[type-var]
                setattr(other, place, nn.Identity())


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _places(sequence: nn.Module) -> Iterator[Place]:
    """In the order in which they run, sequences inside of it unfolded."""
    # Not `named_children`, which leaves out a module that stands there again.
    for name, child in list(sequence._modules.items()):
        assert child is not None
        if _is_sequence(child):
            yield from _places(child)
        else:
            yield sequence, name


def _is_settled(conv: nn.Module, norm: nn.BatchNorm2d) -> bool:
    """PyTorch does not fold into a grouped transposed convolution; a norm without statistics has nothing to fold."""
    grouped = isinstance(conv, nn.ConvTranspose2d) and conv.groups > 1
    return not grouped and norm.running_mean is not None and not norm.training
