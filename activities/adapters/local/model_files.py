"""Where the GGUF file of a model lies on this machine."""

import importlib.util
from pathlib import Path

from models.base.errors import ProviderRejected

WHEEL_PREFIX = "wheel:"


def resolve_model_file(model_file: str | None, models_dir: Path) -> Path:
    """The absolute path that `model_file` names: `wheel:<package>/<name>`, a file inside an installed Python package, or
    a name relative to `models_dir`. Whether there is such a file is for the node agent to say.

    Raises ProviderRejected when nothing can ever be there: no name, a package that is not installed, a way out of the folder.
    """
    if not model_file:
        raise ProviderRejected("this model has no file that can be served on this machine")
    if model_file.startswith(WHEEL_PREFIX):
        package, _, name = model_file.removeprefix(WHEEL_PREFIX).partition("/")
        return _inside(_package_folder(package), name)
    return _inside(models_dir, model_file)


def _package_folder(package: str) -> Path:
    """The folder is found without importing the package: some carry a model but miss what their code needs."""
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ProviderRejected(f"the Python package {package!r} that carries this model is not installed")
    return Path(spec.submodule_search_locations[0])


def _inside(folder: Path, name: str) -> Path:
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (OSError, ValueError):  # a loop of links, or a null character
        path = root
    if path == root or not path.is_relative_to(root):
        raise ProviderRejected("the name of the model file leads out of the folder of models")
    return path
