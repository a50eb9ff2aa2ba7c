"""A built-in, procedural data set: street scenes with CamVid's eleven classes, deterministic by seed."""

from fleetseg.data.scenes.compose import render_scene

__all__ = ["render_scene"]
