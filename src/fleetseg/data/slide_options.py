"""How whole slides are cut into patches: what a description of a data set may say under ``slides``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SlideOptions(BaseModel):
    """See `slides.Slides`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: Width and height of a patch, in pixels of the read level.
    patch: int = Field(default=384, ge=16, le=8192)
    #: From one patch to the next; less than `patch` makes them overlap. None: half a patch.
    stride: int | None = Field(default=None, ge=1)
    #: Pixels of the slide (level 0) that make one of a patch, along an edge.
    downsample: float = Field(default=1.0, ge=1.0)
    #: The least share of tissue that a patch is kept for.
    tissue: float = Field(default=0.25, ge=0.0, le=1.0)
    #: Draw training patches so that each class has its turn; other splits show every patch once.
    balanced: bool = True

    @model_validator(mode="after")
    def _check(self) -> SlideOptions:
        if self.stride is not None and self.stride > self.patch:
            raise ValueError(f"stride {self.stride} is above patch {self.patch} and would leave gaps")
        return self

    @property
    def step(self) -> int:
        """From one patch to the next."""
        return self.stride or max(1, self.patch // 2)


DEFAULT_SLIDE_OPTIONS = SlideOptions()
