"""``fleetseg predict``: label every pixel of images and videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetseg.cli.evaluation_views import FlipOption, OverlapOption, ScalesOption, WindowOption
from fleetseg.cli.network_sight import size_rule
from fleetseg.cli.options import DeviceOption, EngineOption, ModelArgument, ThreadsOption, parse_size
from fleetseg.cli.own_network import NetworkOption, check_network, use_network
from fleetseg.cli.predict_batches import Batch, ClusterOption, WorkersOption, is_batch, predict_batch
from fleetseg.cli.predict_options import refuse_others
from fleetseg.cli.predict_windows import (
    OVERLAP,
    BackgroundOption,
    DownsampleOption,
    WindowBatchOption,
    WindowsOption,
    sliding,
)

if TYPE_CHECKING:
    from fleetseg.runtime import Model

_HELP = """Label every pixel of images (files, folders with their sub-folders, quoted patterns) or of a video.

For photo.jpg, DIR gets photo.png, a mask of the image's own size whose values are class ids and whose palette
shows them, and on demand photo_overlay.png and photo_confidence.png. Earlier results are replaced. An image
that cannot be read is named, the others are finished, and the exit status is 1.

A slide or an image of more than 150 million pixels is seen in windows that slide over it: DIR gets its labels as
a tiled TIFF, photo_labels.tif, areas of the classes and outlines for QuPath. A run that was stopped goes on.

A video file, a stream (rtsp://…) or a camera (webcam:0) becomes a video with the classes over it; --out is then
its name (.mp4, .mov, .mkv, .webm). Sound and time stamps are kept. Ctrl-C ends it with a whole file.

Many images: a list (list.txt), an address (s3://bucket/folder), --workers or --cluster make a batch: processes that
survive broken images, a manifest (manifest.parquet in --out), and no image twice when the command is run again.

\b
Examples:
  fleetseg predict enet-camvid photo.jpg --out results --overlay
  fleetseg predict enet-camvid drive/ "more/*.png" --out results --json
  fleetseg predict runs/enet 4k.jpg --out results --size 960x544
  fleetseg predict enet-camvid s3://bucket/drives --out s3://bucket/masks --cluster ray
  fleetseg predict runs/biopsy slides/slide.svs --out results --downsample 4 --skip-background
  fleetseg predict enet-camvid drive.mp4 --out labelled.mp4 --shares shares.csv
  fleetseg predict enet-camvid webcam:0 --out seen.mp4 --show
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", help=_HELP, short_help="Label every pixel of images and videos.")(predict)


def predict(
    model: ModelArgument,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Images, folders, quoted patterns; or one video.")
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="PATH", help="Folder for the results, made if missing; a video's name.")
    ],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write the classes over the image.")] = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Also write how sure the network is: grey, 255 for certain.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="WxH",
            help="Size that the network sees, such as 480x360, or native for the image's own.  "
            "[default: as many pixels as the training images, in the image's proportions]",
        ),
    ] = None,
    mask_video: Annotated[
        Path | None,
        typer.Option("--mask-video", metavar="FILE.mkv", help="Video: also write the class ids, lossless."),
    ] = None,
    shares: Annotated[
        Path | None, typer.Option("--shares", metavar="FILE.csv", help="Video: class shares of every frame.")
    ] = None,
    every: Annotated[
        int, typer.Option("--every", min=1, metavar="N", help="Video: look at every Nth frame; others keep its mask.")
    ] = 1,
    smooth: Annotated[
        float,
        typer.Option("--smooth", min=0.0, max=0.99, metavar="S", help="Video: weight of the past, against flicker."),
    ] = 0.0,
    drop_frames: Annotated[
        bool | None,
        typer.Option(
            "--drop-frames/--keep-frames",
            help="Video: leave out frames that come too fast.  [default: cameras and streams]",
            show_default=False,
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Video: show the frames in a window.")] = False,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    windows: WindowsOption = False,
    window: WindowOption = None,
    overlap: OverlapOption = OVERLAP,
    scales: ScalesOption = None,
    flip: FlipOption = False,
    downsample: DownsampleOption = 1.0,
    skip_background: BackgroundOption = False,
    window_batch: WindowBatchOption = 1,
    engine: EngineOption = "own",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    own_network: NetworkOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of results for programs.")] = False,
) -> None:
    """Run the command."""
    from fleetseg.cli.predict_images import predict_images
    from fleetseg.cli.predict_video import predict_video, the_video

    given = {
        "images": {"--overlay": overlay, "--confidence": confidence},
        "a video": {
            "--mask-video": mask_video is not None,
            "--shares": shares is not None,
            "--every": every != 1,
            "--smooth": smooth > 0,
            "--drop-frames": drop_frames is not None,
            "--show": show,
        },
        "a batch": {
            "--overlay": overlay,
            "--confidence": confidence,
            "--cluster": cluster is not None,
            "--workers": workers is not None,
        },
    }
    whole = "--size" if size is not None else "--confidence" if confidence else None
    sight = sliding(windows, window, overlap, scales, flip, downsample, skip_background, window_batch, whole)
    given["images"]["--windows"] = sight.forced is True
    choose_size = size_rule(size)
    asked = use_network(own_network)

    def load_checked(count: int | None) -> Model:
        from fleetseg.runtime import load

        only = None if size in (None, "native") else parse_size(size)
        network = load(model, engine, count, device, only)
        check_network(asked, {model: network.metadata.network.name})
        return network

    video = the_video(inputs)
    if video is not None:
        from fleetseg.app.video.run import VideoOptions

        refuse_others(given, "a video")
        options = VideoOptions(Path(out), mask_video, shares, every, smooth, drop_frames)
        predict_video(video, load_checked, options, choose_size, threads, show, as_json)
        return
    if is_batch(inputs, out, cluster, workers):
        refuse_others(given, "a batch")
        predict_batch(
            Batch(
                *(inputs, out, model, engine, device, threads, size, choose_size),
                *(overlay, confidence, cluster, workers, own_network, as_json),
            )
        )
        return
    refuse_others(given, "images")
    predict_images(
        inputs, Path(out), lambda: load_checked(threads), choose_size, overlay, confidence, sight, threads, as_json
    )
