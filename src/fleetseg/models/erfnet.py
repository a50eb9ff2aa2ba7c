"""ERFNet: efficient residual factorised ConvNet (Romera et al., IEEE T-ITS 2018).

Layers bear the names of the authors' PyTorch code, so its checkpoints need no renaming. Every convolution has a bias;
BatchNorm's epsilon is 10⁻³.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork
from fleetseg.models.blocks import batch_norm


class Downsampler(nn.Module):
    """A strided 3×3 convolution beside a max-pool of the input, BatchNorm, ReLU.

    Of an image with many bands at most the first half as many as there are outputs are pooled, so that the
    convolution, which reads them all, keeps half of the maps.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pooled = min(in_channels, out_channels // 2)
        self.conv = nn.Conv2d(in_channels, out_channels - self.pooled, 3, stride=2, padding=1)
        self.bn = batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H/2, W/2)."""
        pooled = F.max_pool2d(x[:, : self.pooled], 2)
        return F.relu(self.bn(torch.cat((self.conv(x), pooled), dim=1)))


class NonBottleneck1d(nn.Module):
    """Two factorised 3×3 convolutions (3×1, 1×3; the second pair dilated), spatial dropout, residual.

    12·c² + 8·c parameters.
    """

    def __init__(self, channels: int, dropout: float, dilation: int) -> None:
        super().__init__()
        d = dilation
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.bn1 = batch_norm(channels)
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d))
        self.bn2 = batch_norm(channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        y = F.relu(self.conv3x1_1(x))
        y = F.relu(self.bn1(self.conv1x3_1(y)))
        y = F.relu(self.conv3x1_2(y))
        y = self.dropout(self.bn2(self.conv1x3_2(y)))
        return F.relu(y + x)


class Upsampler(nn.Module):
    """3×3 transposed convolution with stride 2, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        self.bn = batch_norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, 2H, 2W)."""
        return F.relu(self.bn(self.conv(x)))


class Encoder(nn.Module):
    """Three down-samplers and thirteen residual blocks; 1,874,044 parameters."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.initial_block = Downsampler(in_channels, 16)
        self.layers = nn.Sequential(
            Downsampler(16, 64),
            *(NonBottleneck1d(64, 0.03, 1) for _ in range(5)),
            Downsampler(64, 128),
            *(NonBottleneck1d(128, 0.3, dilation) for dilation in (2, 4, 8, 16) * 2),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, 128, H/8, W/8)."""
        result: Tensor = self.layers(self.initial_block(image))
        return result


class Decoder(nn.Module):
    """Two up-samplers with two residual blocks each, and a 2×2 transposed convolution; 188,912 + 65·C parameters."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Upsampler(128, 64),
            *(NonBottleneck1d(64, 0.0, 1) for _ in range(2)),
            Upsampler(64, 16),
            *(NonBottleneck1d(16, 0.0, 1) for _ in range(2)),
        )
        self.output_conv = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 128, H/8, W/8) → (N, C, H, W)."""
        result: Tensor = self.output_conv(self.layers(x))
        return result


class ERFNetEncoder(SegmentationNetwork):
    """Stage 1 of the paper's training: the encoder with a 1×1 head, logits at 1/8; 1,874,044 + 129·C parameters."""

    output_stride = 8

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        self.encoder = Encoder(in_channels)
        self.head = nn.Conv2d(128, num_classes, 1)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        logits: Tensor = self.head(self.encoder(image))
        return logits


class ERFNet(SegmentationNetwork):
    """The whole network; 2,062,956 + 65·C parameters (2.06 M in ESPNet's Table 1(a))."""

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels)
        self.encoder = Encoder(in_channels)
        self.decoder = Decoder(num_classes)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        logits: Tensor = self.decoder(self.encoder(image))
        return logits

    def load_encoder(self, encoder: SegmentationNetwork) -> None:
        """Take over the encoder that stage 1 trained; its 1×1 head is dropped."""
        if not isinstance(encoder, ERFNetEncoder):
            return super().load_encoder(encoder)
        self.encoder.load_state_dict(encoder.encoder.state_dict())
        return None
