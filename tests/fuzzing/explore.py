"""One run of the fuzzer (atheris), in a process of its own because it ends the process it runs in.

`python -m tests.fuzzing.explore TARGET [flags of libFuzzer] DIRECTORY`; `python -m tests.fuzzing` calls it.
"""

from __future__ import annotations

import sys

import atheris

from tests.fuzzing.corpus import FOLLOWED


def main() -> None:
    """Follow what the target does with ever new inputs."""
    with atheris.instrument_imports(include=list(FOLLOWED)):
        from tests.fuzzing.targets import TARGETS  # noqa: PLC0415 - what is imported here is followed
    program, name, *flags = sys.argv
    atheris.Setup([program, *flags], TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
