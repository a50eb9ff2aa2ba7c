"""Rewrites: one a file, each a function from a graph to a graph that means the same, with a test of its own."""
