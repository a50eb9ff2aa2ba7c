"""ESPNet: efficient spatial pyramid of dilated convolutions for semantic segmentation (arXiv 1803.06815).

Section 3 defines the ESP module, Fig. 4 the path ESPNet-A → B → C → ESPNet. Where print and the published
code differ, the code is followed: hierarchical fusion starts at dilation 2, strided modules use K = 5 in B, C
and ESPNet (4 in A), and the decoder's first level joins the image-level maps by one 3×3 convolution.
The choices that the paper compares are every network's options: `espnet_switches.Switches`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fleetseg.models.base import SegmentationNetwork, initialise
from fleetseg.models.blocks import NormAct, batch_norm
from fleetseg.models.esp import ESP
from fleetseg.models.espnet_switches import ConvNormAct, Switches, SwitchesOfA


def half_size(image: Tensor) -> Tensor:
    """Input reinforcement (section 3.2): the image averaged down by two, border zeros counted."""
    return F.avg_pool2d(image, 3, stride=2, padding=1)


class ESPNetA(SegmentationNetwork):
    """ESPNet-A (Fig. 4a): ESP modules in sequence, nothing joined; logits at 1/8.

    `down_branches` is 4 here: 5 does not give the paper's count. With `downsampling` "conv" it has 199,456 parameters
    (20 classes); the 0.274 M of Table 2(c) are not reproduced, for the paper says no more than strided convolution.
    """

    output_stride = 8

    def __init__(
        self, num_classes: int, in_channels: int = 3, alpha2: int = 2, alpha3: int = 3, **switches: Any
    ) -> None:
        super().__init__(num_classes, in_channels)
        use = SwitchesOfA(**switches)
        self.level1 = ConvNormAct(in_channels, 16, use.act)
        self.down2 = use.down(16, 64)
        self.level2 = use.keep(64, alpha2)
        self.down3 = use.down(64, 128)
        self.level3 = use.keep(128, alpha3)
        self.classifier = nn.Conv2d(128, num_classes, 1, bias=use.class_bias)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        x = self.level1(image)  # (N, 16, H/2, W/2)
        x = self.level2(self.down2(x))  # (N, 64, H/4, W/4)
        x = self.level3(self.down3(x))  # (N, 128, H/8, W/8)
        logits: Tensor = self.classifier(x)
        return logits


class ESPNetB(SegmentationNetwork):
    """ESPNet-B (Fig. 4b): each level's first and last maps are joined; logits at 1/8."""

    output_stride = 8

    def __init__(
        self, num_classes: int, in_channels: int = 3, alpha2: int = 2, alpha3: int = 3, **switches: Any
    ) -> None:
        super().__init__(num_classes, in_channels)
        use = Switches(**switches)
        self.level1 = ConvNormAct(in_channels, 16, use.act)
        self.down2 = use.down(16, 64)
        self.level2 = use.keep(64, alpha2)
        self.join2 = NormAct(128, use.act)
        self.down3 = use.down(128, 128)
        self.level3 = use.keep(128, alpha3)
        self.join3 = NormAct(256, use.act)
        self.classifier = nn.Conv2d(256, num_classes, 1, bias=use.class_bias)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        down2 = self.down2(self.level1(image))  # (N, 64, H/4, W/4)
        joined2 = self.join2(torch.cat((self.level2(down2), down2), dim=1))  # (N, 128, H/4, W/4)
        down3 = self.down3(joined2)  # (N, 128, H/8, W/8)
        joined3 = self.join3(torch.cat((down3, self.level3(down3)), dim=1))  # (N, 256, H/8, W/8)
        logits: Tensor = self.classifier(joined3)
        return logits


class AddedImage(nn.Module):
    """Input-aware fusion of Mehta et al. [36]: the small image, projected by 1×1 and BR, is added to the maps."""

    def __init__(self, in_channels: int, channels: int, act: str) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm_act = NormAct(channels, act)

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        """(N, C, h, w) maps and (N, in, h, w) image → (N, C, h, w)."""
        added: Tensor = maps + self.norm_act(self.project(image))
        return added


class ESPNetC(SegmentationNetwork):
    """ESPNet-C (Fig. 4c): B with the image joined in at 1/2 and 1/4; logits at 1/8.

    `reduce_kernel_size=3` is Table 2's C1, `dilated=False` its C3. `image_input="added"` with `down_branches=4` is its
    C†: input-aware fusion instead of input reinforcement, where and how it is added a conjecture that gives the
    paper's count.
    """

    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        alpha2: int = 2,
        alpha3: int = 3,
        image_input: str = "joined",
        **switches: Any,
    ) -> None:
        super().__init__(num_classes, in_channels)
        if image_input not in ("joined", "added"):
            raise ValueError(f"image_input is {image_input!r}; use 'joined' or 'added'")
        use = Switches(**switches)
        self.image_input = image_input
        extra = in_channels if image_input == "joined" else 0
        #: Channels of what level 1 and level 2 pass on.
        self.joined1, self.joined2 = 16 + extra, 128 + extra
        self.level1 = ConvNormAct(in_channels, 16, use.act)
        self.join1 = NormAct(self.joined1, use.act) if extra else AddedImage(in_channels, 16, use.act)
        self.down2 = use.down(self.joined1, 64)
        self.level2 = use.keep(64, alpha2)
        self.join2 = NormAct(self.joined2, use.act)
        if not extra:
            self.add2 = AddedImage(in_channels, 128, use.act)
        self.down3 = use.down(self.joined2, 128)
        self.level3 = use.keep(128, alpha3)
        self.join3 = NormAct(256, use.act)
        self.classifier = nn.Conv2d(256, num_classes, 1, bias=use.class_bias)
        initialise(self)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, in, H, W) → level 1 (16, 1/2), joined 1 (16+in, 1/2) and 2 (128+in, 1/4), logits (C, 1/8).

        With `image_input="added"` the joined maps have 16 and 128 channels.
        """
        half = half_size(image)
        level1 = self.level1(image)  # (N, 16, H/2, W/2)
        joined1 = self._with_half(level1, half)  # (N, 16 + in, H/2, W/2)
        down2 = self.down2(joined1)  # (N, 64, H/4, W/4)
        joined2 = self._with_quarter(self.level2(down2), down2, half_size(half))  # (N, 128 + in, H/4, W/4)
        down3 = self.down3(joined2)  # (N, 128, H/8, W/8)
        # The order differs from level 2's: the published weights have it so.
        joined3 = self.join3(torch.cat((down3, self.level3(down3)), dim=1))  # (N, 256, H/8, W/8)
        return level1, joined1, joined2, self.classifier(joined3)

    def _with_half(self, level1: Tensor, half: Tensor) -> Tensor:
        joined: Tensor
        if isinstance(self.join1, AddedImage):
            joined = self.join1(level1, half)
        else:
            joined = self.join1(torch.cat((level1, half), dim=1))
        return joined

    def _with_quarter(self, level2: Tensor, down2: Tensor, quarter: Tensor) -> Tensor:
        joined: Tensor
        if self.image_input == "added":
            joined = self.add2(self.join2(torch.cat((level2, down2), dim=1)), quarter)
        else:
            joined = self.join2(torch.cat((level2, down2, quarter), dim=1))
        return joined

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H/8, W/8)."""
        return self.features(image)[-1]


class ESPNet(SegmentationNetwork):
    """ESPNet (Fig. 4d): ESPNet-C and a decoder of reduce, up-sample, merge; full-size logits.

    `decoder_channels` is what the last level reads beside the class maps: 16 (level 1's output; the paper's
    count and the Cityscapes weights) or 16 + in_channels = 19 (joined with the image; the published CamVid
    weights).
    """

    encoder_map = ("encoder.join3", 256)

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        alpha2: int = 2,
        alpha3: int = 8,
        decoder_channels: int = 16,
        image_input: str = "joined",
        **switches: Any,
    ) -> None:
        super().__init__(num_classes, in_channels)
        use = Switches(**switches)
        c = num_classes
        self.decoder_channels = decoder_channels
        inner = asdict(replace(use, class_bias=False))  # the encoder's class maps are not the answer
        self.encoder = ESPNetC(c, in_channels, alpha2, alpha3, image_input, **inner)
        if decoder_channels not in (16, self.encoder.joined1):
            wider = f" or {self.encoder.joined1}" if self.encoder.joined1 > 16 else ""
            raise ValueError(f"decoder_channels is {decoder_channels}; use 16{wider}")
        self.norm3 = batch_norm(c)
        self.up3 = nn.ConvTranspose2d(c, c, 2, stride=2, bias=False)
        self.project2 = nn.Conv2d(self.encoder.joined2, c, 1, bias=False)
        self.merge2_norm = NormAct(2 * c, use.act)
        # With fewer classes than branches some branches would be empty.
        self.merge2 = ESP(2 * c, c, min(5, c), residual=False, act=use.act, dilated=use.dilated, fusion=use.fusion)
        self.up2 = nn.ConvTranspose2d(c, c, 2, stride=2, bias=False)
        self.up2_norm = NormAct(c, use.act)
        self.merge1 = nn.Conv2d(decoder_channels + c, c, 3, padding=1, bias=False)
        self.merge1_norm = NormAct(c, use.act)
        self.up1 = nn.ConvTranspose2d(c, c, 2, stride=2, bias=use.class_bias)
        initialise(self)

    def forward_padded(self, image: Tensor) -> Tensor:
        """(N, in, H, W) → (N, C, H, W)."""
        level1, joined1, joined2, logits8 = self.encoder.features(image)
        up3 = self.up3(self.norm3(logits8))  # (N, C, H/4, W/4)
        merged2 = self.merge2(self.merge2_norm(torch.cat((self.project2(joined2), up3), dim=1)))
        up2 = self.up2_norm(self.up2(merged2))  # (N, C, H/2, W/2)
        detail = level1 if self.decoder_channels == 16 else joined1
        merged1 = self.merge1_norm(self.merge1(torch.cat((up2, detail), dim=1)))
        logits: Tensor = self.up1(merged1)
        return logits

    def load_encoder(self, encoder: SegmentationNetwork) -> None:
        """Take over the ESPNet-C that stage 1 trained, its classifier included."""
        if not isinstance(encoder, ESPNetC):
            return super().load_encoder(encoder)
        tensors = encoder.state_dict()
        tensors.pop("classifier.bias", None)  # of class_bias, which the whole network has at its own end
        self.encoder.load_state_dict(tensors)
        return None
