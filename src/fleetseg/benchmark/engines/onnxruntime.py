"""ONNX Runtime's CPU provider."""

from __future__ import annotations

import numpy as np
import onnxruntime

from fleetseg.benchmark.engines import Run
from fleetseg.benchmark.job import Image, Job, Mask
from fleetseg.runtime.decision import best_class

#: Its ArgMax can be slower than NumPy's running maximum over planes of logits.
FORMS = {"fp32": ("image-to-classes", "image-to-logits")}


def prepare(job: Job) -> None:
    """Write both graphs."""
    from fleetseg.benchmark.onnx_files import onnx_file

    onnx_file(job, "image-to-classes")
    onnx_file(job, "image-to-logits")


def load(job: Job, form: str) -> Run:
    """A session with all optimisations for latency: one graph at a time, all threads inside operations."""
    from fleetseg.benchmark.paths import onnx_path

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    path = str(onnx_path(job, "image-to-classes" if form == "image-to-classes" else "image-to-logits"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def classes(image: Image) -> Mask:
        return np.asarray(session.run(None, {"image": image})[0])

    def logits(image: Image) -> Mask:
        return best_class(iter(session.run(None, {"image": image})[0]))

    return classes if form == "image-to-classes" else logits
