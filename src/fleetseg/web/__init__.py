"""The HTTP service and its page: pictures in, masks out; no torch, nothing written to disk."""
