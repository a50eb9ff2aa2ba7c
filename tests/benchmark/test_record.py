"""Statistics, and the JSON file's keys."""

from __future__ import annotations

import pytest

from fleetseg.benchmark.record import Comparison, KernelTime, Profile, Result, Skipped, as_json, percentiles

RESULT = Result("enet", "openvino", "int8", "640x360", 2, 10.0, 11.0, 12.123456, 99.5, 200.0, 80.0, 150.25)


def test_percentiles_are_linear_between_neighbours() -> None:
    assert percentiles([3.0, 1.0, 2.0]) == pytest.approx((2.0, 2.8, 2.98))
    assert percentiles([7.0]) == (7.0, 7.0, 7.0)


def test_json_has_the_promised_keys_and_others_only_where_they_say_something() -> None:
    comparison = Comparison("enet", "640x360", 2, 200, 10**9, True, [RESULT])
    record = as_json([comparison], 260.0, {"processor": "x"}, {"python": "3"})
    assert list(record) == ["peak_gflops", "machine", "versions", "results"]
    (result,) = record["results"]
    assert result == {
        "model": "enet",
        "engine": "openvino",
        "precision": "int8",
        "size": "640x360",
        "threads": 2,
        "median_ms": 10.0,
        "p90_ms": 11.0,
        "p99_ms": 12.1235,
        "agreement": 99.5,
        "gflops": 200.0,
        "first_result_ms": 80.0,
        "peak_memory_mb": 150.25,
    }
    comparison.skipped.append(Skipped("enet", "ncnn", "fp32", "640x360", "lacks a layer"))
    comparison.profiles.append(Profile("enet", "fp32", "640x360", 2, (KernelTime("0", "a", 4, 10**6, 8, 9, 0.5),)))
    record = as_json([comparison], None, {}, {})
    assert record["skipped"][0]["reason"] == "lacks a layer"
    (kernel,) = record["profile"][0]["kernels"]
    assert (kernel["macs"], kernel["bytes_read"], kernel["ms"], kernel["gflops"]) == (10**6, 8, 0.5, 4.0)


def test_a_kernel_without_time_has_no_rate() -> None:
    assert KernelTime("0", "a", 4, 10, 8, 9, 0.0).gflops == 0.0
