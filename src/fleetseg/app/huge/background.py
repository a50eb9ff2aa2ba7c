"""What of a slide is tissue: a small mask over the whole image."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fleetseg.app.huge.sources import Source
from fleetseg.data.slides import overview_of, tissue_of


def tissue_mask(source: Source) -> npt.NDArray[np.bool_]:
    """(h, w) bool over the whole image, as `Slides` finds tissue, and one pixel of the overview around it."""
    tissue = tissue_of(overview_of(source)).astype(np.uint8)
    return np.asarray(cv2.dilate(tissue, np.ones((3, 3), np.uint8)), bool)
