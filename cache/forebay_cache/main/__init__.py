"""Entry points of the cache's processes, and the one place that picks real parts: a file per process."""
