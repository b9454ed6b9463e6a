"""Run as a script in a child process: print the names in the root of an HDF5 file as JSON.

``python probe.py FILE``.  The HDF5 library can crash or loop on crafted files; here that ends a process that
holds nothing.  Limits: 10 s of processor time, 2 GiB of memory where the system knows them.
"""

import json
import sys

MAX_NAMES = 9


def names(path: str) -> list[str]:
    """The first names in the root group, following no link."""
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        found = []
        for name in file:
            found.append(str(name)[:64])
            if len(found) == MAX_NAMES:
                break
        return found


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's time limit remains
        return
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _limit()
    print(json.dumps(names(sys.argv[1])))
