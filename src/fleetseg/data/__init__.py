"""Data sets: classes and samples as NumPy arrays, whatever the files look like."""

from fleetseg.data.base import Dataset, HasInstances, Sample
from fleetseg.data.camvid import CamVid
from fleetseg.data.class_weights import (
    ClassStatistics,
    class_pixel_counts,
    class_statistics,
    class_weights,
)
from fleetseg.data.folder import Folder
from fleetseg.data.opening import open_dataset
from fleetseg.data.scene_dataset import Scenes
from fleetseg.data.transforms import Augmentation

__all__ = [
    "Augmentation",
    "CamVid",
    "ClassStatistics",
    "Dataset",
    "Folder",
    "HasInstances",
    "Sample",
    "Scenes",
    "class_pixel_counts",
    "class_statistics",
    "class_weights",
    "open_dataset",
]
