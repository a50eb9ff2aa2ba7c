"""Timing engines side by side: each in its own process, one awake at a time, their class maps compared."""
