"""What a test needs beyond the locked dependencies. Missing: the test is skipped with the line that installs it.

With `QUARTERDECK_TEST_REQUIRE=all` (continuous integration) every skip is a failure.
"""

import os
import shutil

import pytest

REQUIRE_ALL = os.environ.get("QUARTERDECK_TEST_REQUIRE") == "all"


def need_program(name: str, install: str) -> str:
    """The path of the program. Skips the test when it is missing; `install` is the command that brings it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs `{name}`: {install}")
    return path


def need(*, present: bool, what: str, install: str) -> None:
    """Skip the test unless `present`."""
    if not present:
        pytest.skip(f"needs {what}: {install}")
