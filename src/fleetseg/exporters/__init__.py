"""Turning a torch module into files that other runtimes read. Needs torch."""
