"""Where the classes of a mask meet.

A label's border is looked for after every unlabelled pixel took the class of the nearest labelled one: PASCAL VOC
leaves all borders unlabelled, so there would be none otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
Where = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Borders:
    """The borders of one label, found once for every metric that looks at them."""

    #: (H, W) class ids; unlabelled pixels have the nearest labelled one's.
    filled: Mask
    #: (H, W) pixels to the nearest labelled one; 0 where labelled.
    distance: npt.NDArray[np.float32]
    #: (H, W) true at both sides of a border.
    edges: Where

    @classmethod
    def of(cls, target: Mask, num_classes: int) -> Borders | None:
        """Of (H, W) class ids, values from `num_classes` on unlabelled; None if nothing is labelled."""
        unlabelled = (target >= num_classes).astype(np.uint8)
        missing = cv2.countNonZero(unlabelled)
        if missing == target.size:
            return None
        if not missing:
            return cls(target, np.zeros(target.shape, np.float32), edges(target))
        distance, nearest = cv2.distanceTransformWithLabels(unlabelled, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        # What is nearest to an unlabelled pixel has an unlabelled neighbour itself: no others need be numbered.
        rim = edges(unlabelled) & (unlabelled == 0)
        classes = np.zeros(target.size - missing + 1, np.uint8)
        classes[nearest[rim]] = target[rim]
        filled, gaps = target.copy(), unlabelled.view(np.bool_)
        filled[gaps] = classes[nearest[gaps]]
        return cls(filled, np.asarray(distance, np.float32), edges(filled))


def edges(mask: Mask) -> Where:
    """(H, W) bool: pixels of which one of the four neighbours has another value."""
    found = np.zeros(mask.shape, np.bool_)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found
