"""What quantisation-aware fine-tuning gives: a network in int8, every layer, before and after it.

    python benchmarks/int8_fine_tuning.py enet-camvid --data CamVid --epochs 5 --out tuned

`fleetseg export --precision int8 --fine-tune` trains only where float layers do not help; here it always does, and no
layer is turned back. Printed is the mIoU over val of four files: float and int8, before and after. The folder --out
gets them, the tuned checkpoint and result.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from fleetseg.atomic import write_text
from fleetseg.cli.console import track
from fleetseg.cli.options import parse_size
from fleetseg.compilation import read_network
from fleetseg.data import Dataset, open_dataset
from fleetseg.exporters.formats import FORMATS
from fleetseg.metadata import ExportedForm
from fleetseg.models.checkpoint import save_checkpoint
from fleetseg.quantise.calibration import batches, open_data
from fleetseg.quantise.fine_tuning import fine_tuned
from fleetseg.quantise.measuring import accuracy
from fleetseg.quantise.quantised_export import quantiser_of


def main() -> None:
    """Run the command line above."""
    words = parsed()
    words.out.mkdir(parents=True, exist_ok=True)
    network, metadata = read_network(words.model)
    form = ExportedForm(format=words.format, size=words.size, precision="int8")
    data = open_data(words.data, "train", "val", words.calibration, metadata.network.in_channels)
    seen = batches(data.images, metadata, form)
    kind = quantiser_of(words.format)

    def measured(module: object, name: str, judged: Dataset) -> dict[str, float]:
        quantiser, found = kind(module, metadata, form, seen), {}
        for precision in ("float", "int8"):
            path = words.out / f"{name}-{precision}{FORMATS[words.format].suffix}"
            if precision == "int8":
                quantiser.write(path, ())
            else:
                quantiser.write_alone(path, "")
            result = accuracy(path, judged, words.threads, track, f"Measuring {path.name}")
            found[precision] = round(100 * result.scores.miou, 3)
        print(f"{name}: float {found['float']:.2f}, int8 {found['int8']:.2f} mIoU", flush=True)
        return found

    result = {"before": measured(network, "before", data.accuracy)}
    started = time.perf_counter()
    train = open_dataset(words.data, "train")
    tuned = fine_tuned(network, metadata, train, words.size, words.epochs, track=track)
    minutes = (time.perf_counter() - started) / 60
    print(f"{words.epochs} epochs of {len(train)} images: {minutes:.1f} minutes", flush=True)
    save_checkpoint(words.out / "tuned.safetensors", tuned, metadata)
    result["after"] = measured(tuned, "after", data.accuracy)
    settings = {"model": words.model, "format": words.format, "size": words.size, "epochs": words.epochs}
    write_text(words.out / "result.json", json.dumps(settings | result, indent=1) + "\n")
    print(json.dumps(settings | result))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--format", default="onnx", choices=("onnx", "openvino", "litert"))
    parser.add_argument("--size", type=parse_size, default=(480, 360), metavar="WxH")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--calibration", type=int, default=96, help="images of the train split")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser.parse_args()


if __name__ == "__main__":
    main()
