"""Labels one picture with an exported ONNX file: NumPy, Pillow and ONNX Runtime, neither torch nor fleetseg.

fleetseg export enet-camvid --format onnx --size 480x360 --preprocess --head classes --out street.onnx
python segment.py street.onnx street.jpg mask.png
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def main(model: str, picture: str, mask: str) -> int:
    """Write the mask, coloured by the palette inside the file, and print how much of it each class has."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["fleetseg"])
    _, height, width, _ = session.get_inputs()[0].shape
    image = Image.open(picture).convert("RGB").resize((width, height))
    (classes,) = session.run(None, {"image": np.asarray(image)[None]})
    result = Image.fromarray(classes[0]).convert("P")
    result.putpalette(np.asarray(facts["palette"], np.uint8).ravel().tobytes())
    result.save(mask)
    for number, name in enumerate(facts["classes"]):
        print(f"{name}: {100 * (classes == number).mean():.2f}%")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python segment.py MODEL.onnx PICTURE MASK.png")
    sys.exit(main(*sys.argv[1:]))
