"""Notebooks as programs: their configurations, and the kernels in which papermill executes them."""

import sys

#: How a kernel starts: forked from a process that has imported everything, or as a new process.
KERNELS = ("warm", "fresh")
#: Warm only where a process with these libraries may be forked: on macOS the system's own forbid it.
DEFAULT_KERNELS = "warm" if sys.platform == "linux" else "fresh"
