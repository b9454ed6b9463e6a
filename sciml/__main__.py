"""``python -m sciml``: the same as the command ``sciml``.

``python -m`` puts the current folder first on ``sys.path``. In a checkout that makes the area folders
importable under bare names, and a library that asks whether the well-known package ``datasets`` is
installed finds ours. So the checkout leaves the path; without an installation it comes back last, where it
shadows nobody, because worker processes that are spawned must find ``sciml`` somewhere.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def _drop_checkout_from_path() -> None:
    root = Path(__file__).resolve().parent.parent
    if not (root / "kernels" / "spectral.py").is_file():
        return  # installed: the folder above is site-packages
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != root]
    try:
        distribution("sciml-pde")
    except PackageNotFoundError:
        sys.path.append(str(root))


if __name__ == "__main__":
    _drop_checkout_from_path()
    from sciml.cli import main

    sys.exit(main())
