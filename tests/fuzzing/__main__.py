"""`python -m tests.fuzzing TARGET… [--seconds 60]`: fuzz the targets one after the other, and keep what was found.

What breaks a promise is kept as `corpus/TARGET/found-…` and shown; the tests fail on it until it is fixed.
Needs `pip install 'cloudchat[fuzzing]'`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzzing.corpus import CORPUS, inputs, keep
from tests.fuzzing.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW = 20
"""Seconds that one input may take: thousands of times more than any needs, so more is a finding, too."""


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target; whether all went well."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        seeds, artifacts, words = work / "seeds", work / "artifacts", work / "words"
        seeds.mkdir()
        artifacts.mkdir()
        for path in inputs(name):
            shutil.copy(path, seeds)
        escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.words)
        words.write_text("".join(f'"{word}"\n' for word in escaped))
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzzing.explore", name),
                *(f"-max_total_time={seconds}", f"-max_len={target.longest}", f"-timeout={SLOW}"),
                *(f"-dict={words}", f"-artifact_prefix={artifacts}/", "-print_final_stats=1"),
                "-rss_limit_mb=1000",
                str(seeds),
            ],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        found = [_kept(name, path) for path in artifacts.iterdir()]
        if found:
            print(f"{name}: {', '.join(map(str, found))}")
            _explain(target.check, found[0].read_bytes())
            return False
        if ran.returncode:
            print(f"{name}: the fuzzer failed\n{ran.stdout}{ran.stderr}"[-3_000:])
            return False
        files, size = keep(name, target.check, [path.read_bytes() for path in seeds.iterdir()])
    units = re.search(r"number_of_executed_units:\s*(\d+)", ran.stderr)
    followed = re.findall(r"cov: (\d+)", ran.stderr)
    print(
        f"{name}: {int(units[1]) if units else 0:,} inputs in {seconds} s, {followed[-1] if followed else 0} branches;"
        f" the corpus has {files} files, {size:,} bytes"
    )
    return True


def _kept(name: str, found: Path) -> Path:
    """Copy what the fuzzer found into the corpus."""
    place = CORPUS / name
    place.mkdir(parents=True, exist_ok=True)
    kind, _, digest = found.name.partition("-")  # crash, timeout, oom
    return Path(shutil.copy(found, place / f"found-{kind}-{digest[:12]}"))


def _explain(check: Callable[[bytes], None], data: bytes) -> None:
    print(repr(data))
    try:
        check(data)
    except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
        traceback.print_exc()
    else:
        print("this time nothing was wrong: it was too slow, or depends on something else")


def main() -> int:
    """Return 1 where something was found."""
    reader = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    reader.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; none: all"
    )
    reader.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    told = reader.parse_args()
    if unknown := set(told.targets) - TARGETS.keys():
        reader.error(f"there is no target {min(unknown)!r}; there are: {', '.join(TARGETS)}")
    results = [fuzz(name, told.seconds) for name in told.targets or TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
