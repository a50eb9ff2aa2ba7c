"""OpenCV's DNN module, which has no arg-max of its own worth using: NumPy's running maximum takes a tenth."""

from __future__ import annotations

import cv2
import numpy as np

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Image, Job, Mask
from fleetseg.benchmark.paths import onnx_path
from fleetseg.runtime.decision import best_class

FORMS = {"fp32": ("blob, network, arg-max",)}


def prepare(job: Job) -> None:
    """Write the graph."""
    from fleetseg.benchmark.onnx_files import onnx_file

    onnx_file(job, "network")


def load(job: Job, form: str) -> Run:  # noqa: ARG001 - there is one form
    """Read the graph; OpenCV 5 takes its new engine where that can read it."""
    cv2.setNumThreads(job.threads)
    network = cv2.dnn.readNetFromONNX(str(onnx_path(job, "network")))
    normalisation = job.metadata().normalisation
    blob = cv2.dnn.Image2BlobParams()
    blob.size = job.size()
    blob.swapRB = normalisation.order == "bgr"
    blob.mean = normalisation.mean
    blob.scalefactor = tuple(normalisation.scale / std for std in normalisation.std)

    def classes(image: Image) -> Mask:
        network.setInput(cv2.dnn.blobFromImageWithParams(image, blob))
        return best_class(iter(np.asarray(network.forward())[0]))

    return classes
