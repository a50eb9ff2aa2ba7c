"""C from a planned graph, a family of operations a file. Nothing here decides: blocks come from `schedule`."""
