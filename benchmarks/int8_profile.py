"""Where the time of exported files goes: every layer's, told by the runtime's own profiler.

    python benchmarks/int8_profile.py enet-fp32.onnx enet-int8.onnx --threads 1 --out profile.json

ONNX files are profiled by ONNX Runtime (its profiling session), .xml files by OpenVINO (PERF_COUNT), .tflite files an
operation at a time (`litert_operations.py`). Times of kinds and of single layers are medians over runs on a built-in
scene.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from litert_operations import operation_times

from fleetseg.atomic import write_text
from fleetseg.exporting import scene
from fleetseg.runtime import load

#: Seen by the network where the file takes any size.
USUAL_SIZE = (480, 360)

#: One layer in one run: (name, kind, milliseconds).
Time = tuple[str, str, float]


def main() -> None:
    """Run the command line above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, help="all layers as JSON")
    words = parser.parse_args()
    results = {}
    for path in words.files:
        runs = list(_runs(path, words.threads, words.runs))
        results[str(path)] = _medians(runs)
        _print(path, results[str(path)])
    if words.out:
        write_text(words.out, json.dumps(results, indent=1) + "\n")


def _runs(path: Path, threads: int, count: int) -> Iterable[list[Time]]:
    if path.suffix == ".tflite":
        return operation_times(path, threads, count)
    model = load(path, threads=threads)
    image = scene(model.fixed_size or USUAL_SIZE, model.metadata.network.in_channels)
    preprocessing = getattr(model, "form", None) is not None and model.form.preprocessing
    batch = image[None] if preprocessing else model.metadata.normalisation.apply(image)
    return (
        _onnxruntime(path, batch, threads, count) if path.suffix == ".onnx" else _openvino(path, batch, threads, count)
    )


def _onnxruntime(path: Path, batch: Any, threads: int, count: int) -> Iterator[list[Time]]:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(2 + count):
            session.run(None, {session.get_inputs()[0].name: batch})
        events = json.loads(Path(session.end_profiling()).read_text())
    layers: list[Time] = []
    done = 0
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time").split("_token_")[0]
            layers.append((name, event["args"]["op_name"], event["dur"] / 1e3))
        elif event["name"] == "model_run":
            done += 1
            if done > 2:  # those that warm up
                yield layers
            layers = []


def _openvino(path: Path, batch: Any, threads: int, count: int) -> Iterator[list[Time]]:
    import openvino

    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": True,
    }
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    for run in range(2 + count):
        request.infer([batch])
        if run >= 2:
            yield [
                (told.node_name, f"{told.node_type} {told.exec_type}", told.real_time.total_seconds() * 1e3)
                for told in request.get_profiling_info()
                if told.real_time.total_seconds() > 0
            ]


def _medians(runs: list[list[Time]]) -> dict[str, Any]:
    layers: dict[tuple[str, str], list[float]] = defaultdict(list)
    kinds: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        sums: Counter[str] = Counter()
        for name, kind, milliseconds in run:
            layers[name, kind].append(milliseconds)
            sums[kind] += milliseconds
        for kind, total in sums.items():
            kinds[kind].append(total)
    return {
        "total_ms": statistics.median(sum(time for _, _, time in run) for run in runs),
        "kinds": _sorted({kind: statistics.median(found) for kind, found in kinds.items()}),
        "layers": [
            {"layer": name, "kind": kind, "ms": round(float(np.median(found)), 4)}
            for (name, kind), found in sorted(layers.items(), key=lambda item: -float(np.median(item[1])))
        ],
    }


def _sorted(times: dict[str, float]) -> dict[str, float]:
    return {kind: round(time, 4) for kind, time in sorted(times.items(), key=lambda item: -item[1])}


def _print(path: Path, found: dict[str, Any]) -> None:
    print(f"{path}: {found['total_ms']:.2f} ms in its layers")
    for kind, time in list(found["kinds"].items())[:12]:
        print(f"  {time:8.2f} ms  {kind}")
    for layer in found["layers"][:10]:
        print(f"    {layer['ms']:6.2f} ms  {layer['kind']:20s} {layer['layer']}")


if __name__ == "__main__":
    main()
