"""What the modules of a package export: found in every folder of the package, in order, and refused where it is something else."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from models.base.listing import exported, exported_classes


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Callable[..., ModuleType]]:
    """A package of these modules, each by its text, in folders of their own."""
    made = ModuleType("listed")
    made.__path__ = []
    sys.modules["listed"] = made

    def of(**texts: str) -> ModuleType:
        for name, text in texts.items():
            folder = tmp_path / f"of_{name}"
            folder.mkdir()
            (folder / f"{name}.py").write_text(text)
            made.__path__.append(str(folder))
        return made

    yield of
    for name in [name for name in sys.modules if name.partition(".")[0] == "listed"]:
        del sys.modules[name]


def test_each_module_is_found_in_the_order_of_their_names(package: Callable[..., ModuleType]) -> None:
    assert exported(package(c="FAMILY = 'of c'", a="FAMILY = 'of a'", b="FAMILY = 'of b'"), "FAMILY", str) == (
        "of a",
        "of b",
        "of c",
    )


@pytest.mark.parametrize("text", ["", "FAMILY = 1", "OTHER = 'x'"])
def test_one_that_does_not_take_part_is_refused(package: Callable[..., ModuleType], text: str) -> None:
    with pytest.raises(TypeError, match="exports no FAMILY"):
        exported(package(fine="FAMILY = 'x'", wrong=text), "FAMILY", str)


def test_classes_are_told_by_what_they_derive_from(package: Callable[..., ModuleType]) -> None:
    [found] = exported_classes(package(a="class Own(ValueError): ...\nFAMILY = Own"), "FAMILY", ValueError)
    assert found.__name__ == "Own"
    with pytest.raises(TypeError, match="is a ValueError"):
        exported_classes(package(b="FAMILY = KeyError"), "FAMILY", ValueError)
