"""VGG16 (arXiv 1409.1556, configuration D), the backbone of SegNet, FCN-8s, Dilation-8 and LRR."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fleetseg.models.widths import scaled

#: Convolutions and channels of the five groups.
GROUPS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
#: Channels of fc6 and fc7.
FULLY_CONNECTED = 4096


class VGG16(nn.Module):
    """Thirteen 3×3 convolutions with bias and ReLU in five groups, and fc6 and fc7 as convolutions.

    The networks pool between the groups themselves, since they differ in where. Parameters: 14,714,688 in the groups,
    102,764,544 in fc6, 16,781,312 in fc7.
    """

    def __init__(
        self,
        in_channels: int,
        width: float = 1.0,
        *,
        norm: bool = False,
        first_padding: int = 1,
        padded: bool = True,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        fc_dilation: int | None = 1,
        fc_padded: bool = True,
    ) -> None:
        """`norm`: BatchNorm before each ReLU. `first_padding` is conv1_1's; `padded` False: no padding at all.

        `dilations` are the groups'; `fc_dilation` is fc6's, None: no fc6 and fc7.
        """
        super().__init__()
        self.groups = nn.ModuleList()
        channels = in_channels
        for (count, out_channels), dilation in zip(GROUPS, dilations, strict=True):
            layers: list[nn.Module] = []
            for _ in range(count):
                padding = dilation if padded else 0
                if channels == in_channels and not self.groups and not layers:
                    padding = first_padding if padded else 0
                wide = scaled(out_channels, width)
                layers.append(nn.Conv2d(channels, wide, 3, padding=padding, dilation=dilation))
                layers += [nn.BatchNorm2d(wide)] if norm else []
                layers.append(nn.ReLU())
                channels = wide
            self.groups.append(nn.Sequential(*layers))
        self.out_channels = tuple(scaled(out_channels, width) for _, out_channels in GROUPS)
        self.fc_channels = scaled(FULLY_CONNECTED, width)
        if fc_dilation is not None:
            padding = 3 * fc_dilation if fc_padded else 0
            self.fc6 = nn.Conv2d(channels, self.fc_channels, 7, padding=padding, dilation=fc_dilation)
            self.fc7 = nn.Conv2d(self.fc_channels, self.fc_channels, 1)
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(0.5)

    def fully_connected(self, x: Tensor) -> Tensor:
        """(N, 512, H, W) → (N, 4096, H, W), or 6·dilation pixels less without padding."""
        x = self.dropout(self.relu(self.fc6(x)))
        result: Tensor = self.dropout(self.relu(self.fc7(x)))
        return result

    def layers(self, kind: type[nn.Module]) -> list[tuple[str, nn.Module]]:
        """Own names and modules of the groups' convolutions (or BatchNorms), in order."""
        found = self.groups.named_modules(prefix="groups")
        return [(name, layer) for name, layer in found if isinstance(layer, kind)]


def pool2() -> nn.MaxPool2d:
    """2×2 with stride 2; odd sizes round up, as Caffe does."""
    return nn.MaxPool2d(2, 2, ceil_mode=True)
