"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "quarterdeck"


def _installed() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0.0.0+source"


VERSION = _installed()
