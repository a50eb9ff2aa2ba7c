"""Videos and cameras: decoding, network and encoding at the same time, on PyAV (FFmpeg's libraries)."""
