"""Which channels of a graph are one, which never vary, and which nothing depends on."""
