"""`fleetseg serve` under load, on loopback: throughput beside the same work without HTTP, answers, overload, memory.

python benchmarks/serve_load.py enet-camvid --requests 20000 --json benchmarks/results/FILE.json

1. Throughput, in rounds that take turns: decode → engine → encode in plain threads, then the service with enough
   requests to keep it busy. Both get the same JPEG files and the same library; the client shares the processors.
2. Requests whose answers are compared, byte for byte, with what the loop gave for the same image, and whose
   X-Request-ID must come back. The service's memory is read all along.
3. Twice as many requests as it can answer: the latency of those that are, and how the others are refused.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
from serve_client import Connection, connect, connections

from fleetseg.benchmark.machine import describe_machine
from fleetseg.compilation import fastest_precision, write_library
from fleetseg.data.scenes import render_scene
from fleetseg.image import decode_image
from fleetseg.png import encode_mask
from fleetseg.runtime import Model, load
from fleetseg.runtime.threads import processors

#: Connections of the throughput measurement for each worker: one is answered while the next is there already.
CONNECTIONS_A_WORKER = 3


def jpegs(count: int, size: tuple[int, int]) -> list[bytes]:
    """Distinct street scenes as JPEG files."""
    pictures = (cv2.cvtColor(render_scene(seed, *size)[0], cv2.COLOR_RGB2BGR) for seed in range(count))
    return [cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes() for picture in pictures]


# ---- without HTTP ----


def work(model: Model, content: bytes) -> bytes:
    """What the service does with an image."""
    return encode_mask(model.predict(decode_image(content)), model.labels)


def loop_rate(models: list[Model], images: list[bytes], seconds: float) -> float:
    """Images a second of one loop a model, all at once."""
    done, end = [0] * len(models), time.perf_counter() + seconds

    def loop(place: int) -> None:
        for content in itertools.cycle(images):
            if time.perf_counter() > end:
                return
            work(models[place], content)
            done[place] += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=loop, args=(place,)) for place in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - started)


# ---- over HTTP ----


async def service_rate(url: str, images: list[bytes], seconds: float, count: int) -> float:
    """Answers a second with `count` connections that always want something."""
    numbers, done, end = itertools.count(), [0], time.perf_counter() + seconds

    async def ask(connection: Connection) -> None:
        while time.perf_counter() < end:
            number = next(numbers)
            status, _, _ = await connection.post(images[number % len(images)], str(number))
            assert status == 200, status
            done[0] += 1

    started = time.perf_counter()
    async with connections(url, count) as opened:
        await asyncio.gather(*(ask(connection) for connection in opened))
    return done[0] / (time.perf_counter() - started)


async def check_answers(
    url: str, images: list[bytes], masks: list[bytes], requests: int, count: int, pid: int
) -> dict[str, object]:
    """Every answer is its own request's; the service's memory on the way."""
    numbers, wrong, memory = iter(range(requests)), Counter[str](), list[float]()

    async def ask(connection: Connection) -> None:
        for number in numbers:
            place = (number * 7919) % len(images)
            status, headers, body = await connection.post(images[place], f"request-{number}")
            wrong["status"] += status != 200
            wrong["another request's name"] += headers.get("x-request-id") != f"request-{number}"
            wrong["another image's mask"] += body != masks[place]
            if number % max(1, requests // 20) == 0:
                memory.append(resident_mb(pid))

    async with connections(url, count) as opened:
        await asyncio.gather(*(ask(connection) for connection in opened))
    return {"requests": requests, "wrong": {name: n for name, n in wrong.items() if n}, "resident_mb": memory}


async def overload(url: str, images: list[bytes], rate: float, seconds: float) -> dict[str, object]:
    """`rate` requests a second whatever becomes of them; latencies of the answered ones."""
    latencies: list[float] = []
    statuses, free, tasks = Counter[int](), list[Connection](), set[asyncio.Task[None]]()

    async def ask(number: int, due: float) -> None:
        async with asyncio.timeout(60):
            connection = free.pop() if free else await connect(url)
            status, headers, _ = await connection.post(images[number % len(images)], str(number))
        statuses[status] += 1
        if status == 200:
            latencies.append(time.perf_counter() - due)
        else:
            assert int(headers["retry-after"]) >= 1
        free.append(connection)

    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(ask(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    ordered = sorted(latencies)
    return {
        "offered_per_second": round(rate, 1),
        "statuses": {str(status): n for status, n in sorted(statuses.items())},
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
        "p99_ms": round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 1),
    }


# ---- the whole ----


def resident_mb(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process now, or its peak so far (VmHWM), 10⁶ bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(1024 * int(status.split(f"{what}:")[1].split()[0]) / 1e6, 1)


def measure(arguments: argparse.Namespace, library: Path, size: tuple[int, int]) -> dict[str, object]:
    """All three parts against one service."""
    workers = processors()
    cv2.setNumThreads(1)
    images = jpegs(arguments.images, size)
    narrow = [load(library, threads=1) for _ in range(workers)]
    wide = [load(library, threads=workers)]
    masks = [work(narrow[0], content) for content in images]
    assert len(set(masks)) == len(masks), "two images have the same mask; mix-ups would not be seen"
    words = [sys.executable, "-m", "fleetseg", "serve", str(library), "--port", "0", "--json"]
    process = subprocess.Popen([*words, "--queue", str(arguments.queue)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        count, seconds = CONNECTIONS_A_WORKER * workers, arguments.seconds
        asyncio.run(service_rate(url, images, min(2.0, seconds), count))
        rounds = [
            (
                loop_rate(wide, images, seconds),
                loop_rate(narrow, images, seconds),
                asyncio.run(service_rate(url, images, seconds, count)),
            )
            for _ in range(arguments.rounds)
        ]
        one_loop, loops, service = (statistics.median(values) for values in zip(*rounds, strict=True))
        answers = asyncio.run(check_answers(url, images, masks, arguments.requests, count, process.pid))
        flood = asyncio.run(overload(url, images, 2 * service, seconds))
        peak = resident_mb(process.pid, "VmHWM")
    finally:
        process.terminate()
        ended = process.wait(60)
    return {
        "one_loop_per_second": round(one_loop, 2),
        "loops_per_second": round(loops, 2),
        "service_per_second": round(service, 2),
        "ratio": round(statistics.median(s / max(one, many) for one, many, s in rounds), 3),
        "workers": workers,
        "queue": arguments.queue,
        "answers": answers,
        "overload": {**flood, "bound_ms": round(1000 * (arguments.queue + workers) / service, 1)},
        "peak_resident_mb": peak,
        "exit_status": ended,
    }


def main() -> None:
    """Measure and print a table for people and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="enet-camvid")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--precision", default=fastest_precision())
    parser.add_argument("--images", type=int, default=64, help="distinct images")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=20_000, help="whose answers are checked")
    parser.add_argument("--queue", type=int, default=32)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        write_library(arguments.model, (width, height), Path(folder), precision=arguments.precision)
        found = measure(arguments, Path(folder), (width, height))
    call = {key: getattr(arguments, key) for key in ("model", "size", "precision", "images", "seconds", "rounds")}
    result = {**call, **found, "machine": describe_machine()}
    answers, flood = result["answers"], result["overload"]
    print(
        f"without HTTP   {result['one_loop_per_second']} images/s in one loop, {result['loops_per_second']} in "
        f"{result['workers']}\nservice        {result['service_per_second']} images/s, ratio {result['ratio']}"
    )
    print(f"answers        {answers['requests']} checked, wrong: {answers['wrong'] or 'none'}")
    memory = answers["resident_mb"]
    print(f"memory         {memory[:2][-1]} → {memory[-1]} MB in these, {result['peak_resident_mb']} MB at the most")
    print(
        f"twice as much  {flood['statuses']}, p50 {flood['p50_ms']} ms, p99 {flood['p99_ms']} ms "
        f"(queue allows {flood['bound_ms']} ms)"
    )
    print(json.dumps(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
