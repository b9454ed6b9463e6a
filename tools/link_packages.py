"""Link the area folders into ``sciml/``, where type checkers look for sub-packages.

Type checkers do not run import hooks, and the areas (``kernels/``, ``operators/`` ...) lie at the root of
the repository. The links are ignored by git; on Windows, where links need a privilege, junctions stand in.

    python tools/link_packages.py            make the links
    python tools/link_packages.py --remove   remove them
"""

import argparse
import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def areas(root: Path = ROOT) -> dict[Path, Path]:
    """The links that belong into ``sciml/``: link -> folder, read from ``package-dir`` in pyproject.toml."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    folders = settings["tool"]["setuptools"]["package-dir"]
    return {
        root.joinpath(*name.split(".")): root / folder
        for name, folder in folders.items()
        if name.count(".") == 1
    }


def link(root: Path = ROOT) -> list[Path]:
    """Make the missing links and return all; several processes may do so at once."""
    made = []
    for place, folder in areas(root).items():
        if not folder.is_dir():
            continue
        if place.is_symlink() and place.resolve() != folder.resolve():
            place.unlink()
        if not place.exists():
            try:
                if sys.platform == "win32":
                    import _winapi

                    _winapi.CreateJunction(str(folder), str(place))
                else:
                    place.symlink_to(os.path.relpath(folder, place.parent), target_is_directory=True)
            except FileExistsError:
                pass  # another process was quicker
        made.append(place)
    return made


def remove(root: Path = ROOT) -> None:
    """Remove the links; a real folder of that name stays."""
    for place in areas(root):
        if place.is_symlink():
            place.unlink()
        elif sys.platform == "win32" and os.path.realpath(place) != str(place):
            place.rmdir()  # a junction: its target is left alone


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--remove", action="store_true", help="remove the links")
    if parser.parse_args().remove:
        remove()
    else:
        for place in link():
            print(place.relative_to(ROOT))


if __name__ == "__main__":
    main()
