"""`import sciml` offers what it lists, each name from the module that defines it."""

import ast
import inspect
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import sciml

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sciml.__all__)
def test_public_name_resolves(name: str) -> None:
    value = getattr(sciml, name)
    assert getattr(sciml, name) is value  # the second time it is a plain attribute
    assert name in vars(sciml)
    if isinstance(value, ModuleType):
        assert value.__name__ == f"sciml.{name}"
        return
    # Defined where the table says, not merely imported there: pickles and `describe` carry this path.
    assert value.__module__ == f"sciml.{sciml._DEFINED_IN[name]}"
    assert inspect.getdoc(value), f"sciml.{name} has no docstring"


def test_a_submodule_never_hides_a_public_object() -> None:
    """Importing sciml.x sets the attribute x of sciml to the module, over an object of that name."""
    for name in sciml.__all__:
        if sciml._DEFINED_IN[name] != name:
            assert not (ROOT / "sciml" / f"{name}.py").exists(), f"sciml/{name}.py would hide sciml.{name}"


def test_list_table_and_annotations_agree() -> None:
    assert set(sciml.__all__) == set(sciml._DEFINED_IN)
    assert len(sciml.__all__) == len(set(sciml.__all__))
    tree = ast.parse((ROOT / "sciml" / "__init__.py").read_text(encoding="utf-8"))
    block = next(
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen_by_checkers = {
        alias.name: (node.module or "").removeprefix("sciml").lstrip(".") or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen_by_checkers == sciml._DEFINED_IN


def test_dir_lists_the_public_names() -> None:
    assert {*sciml.__all__, "__version__"} <= set(dir(sciml))


def test_version_is_that_of_the_distribution() -> None:
    assert isinstance(sciml.__version__, str)
    assert sciml.__version__[0].isdigit()


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sciml' has no attribute 'Gird'"):
        sciml.Gird  # noqa: B018
    assert not hasattr(sciml, "_nothing")


def test_areas_are_importable() -> None:
    for area in ("kernels", "operators", "datasets", "pinns"):
        module = import_module(f"sciml.{area}")
        assert module is sys.modules[f"sciml.{area}"]
        assert inspect.getdoc(module), f"sciml.{area} has no docstring"
        for name in module.__all__:
            assert hasattr(module, name), f"sciml.{area}.__all__ lists {name}, which is not there"
