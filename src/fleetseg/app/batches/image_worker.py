"""One engine and what it does with an image, from address to address; the same code in every kind of worker."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np

from fleetseg.app.batches import places
from fleetseg.app.batches.items import DONE, FAILED, FINISHED, UNWRITABLE, Item, Record
from fleetseg.app.batches.job import Job
from fleetseg.errors import FleetsegError, ImageTooLargeError, OutputError
from fleetseg.image import decode_image, overlay, with_legend
from fleetseg.png import encode_mask, encode_picture
from fleetseg.runtime import Model


class ImageWorker:
    """Labels images one after another; the network is loaded when the first image needs it."""

    def __init__(self, job: Job, elsewhere: bool = False) -> None:
        """`elsewhere`: the network's path may not exist here, `job.files` are used."""
        self._job = job
        self._folder = tempfile.TemporaryDirectory(prefix="fleetseg-") if elsewhere else None
        self._model: Model | None = None
        self._name = f"{platform.node()}:{os.getpid()}"
        cv2.setNumThreads(job.threads)
        # Pillow warns of odd files that it can read all the same.
        warnings.filterwarnings("ignore", module=r"PIL\.")

    def __call__(self, item: Item) -> Record:
        """Label an image, unless that was done before; what is wrong with it stands in the record."""
        record = Record(item.input, FAILED, job=self._job.key, worker=self._name)
        try:
            stamp = places.stamp(item.input)
            if stamp is not None and stamp == item.finished_stamp and self._results_exist(item):
                return dataclasses.replace(record, status=FINISHED)
            done = self._label(item, dataclasses.replace(record, stamp=stamp))
        except OutputError as error:
            done = dataclasses.replace(record, status=UNWRITABLE, error=str(error))
        except (FleetsegError, MemoryError) as error:
            text = str(error) or "needs more memory than is free"
            done = dataclasses.replace(record, error=text if item.input in text else f"{item.input}: {text}")
        except Exception as error:  # what nobody foresaw in one image must not end a night's work; it stays on record
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            done = dataclasses.replace(record, error=f"{item.input}: failed in a way that nobody foresaw ({text})")
        return dataclasses.replace(done, finished_at=time.time())

    def _results_exist(self, item: Item) -> bool:
        return all(places.kind(item.result(suffix)) == "file" for suffix in self._suffixes().values())

    def _suffixes(self) -> dict[str, str]:
        suffixes = {"mask": ".png"}
        if self._job.overlay:
            suffixes["overlay"] = "_overlay.png"
        if self._job.confidence:
            suffixes["confidence"] = "_confidence.png"
        return suffixes

    def _label(self, item: Item, record: Record) -> Record:
        content = places.read(item.input)
        try:
            picture = decode_image(content, item.input, self._job.most_pixels)
        except ImageTooLargeError as error:
            raise ImageTooLargeError(f"{error}, or label it by itself with --windows") from error
        model = self._loaded()
        own = (picture.shape[1], picture.shape[0])
        seen = self._job.choose_size(model, own)
        started = time.perf_counter()
        if self._job.confidence:
            mask, certainty = model.predict_with_confidence(picture, seen)
        else:
            mask, certainty = model.predict(picture, seen), None
        latency_ms = 1000 * (time.perf_counter() - started)
        counts = np.bincount(mask.ravel(), minlength=model.labels.num_classes)
        shares = {name: float(count) / mask.size for name, count in zip(model.classes, counts, strict=True)}
        files = {"mask": encode_mask(mask, model.labels)}
        if self._job.overlay:
            blended = overlay(picture, mask, model.labels)
            files["overlay"] = encode_picture(with_legend(blended, model.labels, tuple(shares.values())))
        if certainty is not None:
            files["confidence"] = encode_picture(np.rint(255 * certainty).astype(np.uint8))
        written = {}
        for what, suffix in self._suffixes().items():
            written[what] = item.result(suffix)
            places.write(written[what], files[what])
        return dataclasses.replace(
            record,
            status=DONE,
            mask=written["mask"],
            overlay=written.get("overlay"),
            confidence=written.get("confidence"),
            input_sha256=hashlib.sha256(content).hexdigest(),
            mask_sha256=hashlib.sha256(files["mask"]).hexdigest(),
            width=own[0],
            height=own[1],
            network_width=seen[0],
            network_height=seen[1],
            latency_ms=latency_ms,
            engine=model.engine,
            shares=shares,
        )

    def _loaded(self) -> Model:
        if self._model is None:
            self._model = self._job.load(Path(self._folder.name) if self._folder is not None else None)
        return self._model
