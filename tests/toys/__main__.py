"""The product with one family more, whose files all lie here: `python -P tests/toys/__main__.py up | worker | api | migrate | cli …`.

Each package that the product lists gets one folder more; nothing in the product knows of it.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LISTED = {
    "workers.families": "workers",
    "workers.parts": "parts",
    "api.families": "api",
    "cli.commands": "cli",
    "models.settings.families": "settings",
    "models.domain.permissions": "permissions",
    "models.domain.wording": "wording",
}


def extend() -> None:
    """Before the first import of the product: what is listed is listed when it is imported."""
    sys.path.insert(0, str(ROOT))
    for package, folder in LISTED.items():
        own = ROOT / package.replace(".", "/")
        spec = spec_from_file_location(
            package, own / "__init__.py", submodule_search_locations=[str(own), str(HERE / folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[package] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[package])


def main(arguments: list[str]) -> None:
    extend()
    if arguments[0] == "cli":
        from cli.main import main as command_line  # noqa: PLC0415

        sys.argv[1:] = arguments[1:]
        command_line()
    if arguments[0] == "up":
        from models.settings import load_settings  # noqa: PLC0415
        from workers.embedded.stack import Programs  # noqa: PLC0415
        from workers.embedded.up import up  # noqa: PLC0415

        us = (sys.executable, "-P", __file__)
        raise SystemExit(
            up(load_settings(), Programs(migrate=(*us, "migrate"), api=(*us, "api"), worker=(*us, "worker")))
        )
    from workers.__main__ import main as program  # noqa: PLC0415

    status = program(arguments)
    if arguments[0] == "migrate":
        from tests.toys.table import make_table  # noqa: PLC0415

        make_table()
    raise SystemExit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
