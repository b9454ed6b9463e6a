"""How many cores there are for this process."""

import os


def available_cores() -> int:
    """Cores that this process may use, which a container or a scheduler limits."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
