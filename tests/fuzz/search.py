"""One search by atheris (libFuzzer underneath): `python -m tests.fuzz.search TARGET CORPUS [libFuzzer options]`."""

from __future__ import annotations

import sys

import atheris

# what is imported here is instrumented: our code, and the part of Pillow that is Python
with atheris.instrument_imports(
    include=["preprocessor", "coordinator", "crema", "PIL", "python_multipart", "json"]
):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Searches until the options say so, or until something is found."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
