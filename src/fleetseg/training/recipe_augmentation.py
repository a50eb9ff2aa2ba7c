"""What a recipe can say about changes made to the training images. Needs no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from fleetseg.training.recipe_section import Section


class AugmentationSection(Section):
    """See `data.transforms.Augmentation`; `crop` is (width, height)."""

    crop: tuple[int, int] = (480, 360)
    scale: tuple[float, float] = (1.0, 1.0)
    flip: float = Field(default=0.5, ge=0, le=1)
    colour: float = Field(default=0.0, ge=0, le=1)
    #: Share of the crops that are laid around a pixel of a class drawn from the image's, each as likely.
    balance: float = Field(default=0.0, ge=0, le=1)
    #: Share of the samples into which a rectangle of another sample is pasted, with its labels (CutMix).
    mix: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> AugmentationSection:
        # At 1/8 a smaller crop is a single pixel, of which BatchNorm has no variance.
        if not all(16 <= side <= 16384 for side in self.crop):
            raise ValueError(f"crop is {list(self.crop)}; width and height must be 16 to 16384")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}; it must be a rising pair above 0")
        return self
