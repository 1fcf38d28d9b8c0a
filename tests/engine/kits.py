"""Runs single tests of a kit over what a test makes, to see whether they fail."""

from collections.abc import Callable, Iterator
from functools import partial
from inspect import iscoroutinefunction
from itertools import product
from typing import Any

import anyio


def names(*contracts: type) -> set[str]:
    """Return the names of all tests of `contracts`."""
    return {name for contract in contracts for name in dir(contract) if name.startswith("test_")}


def fails(contract: type, name: str, fixtures: Callable[[], dict[str, Any]]) -> bool:
    """Tell whether the test `name` fails with some of its parameters; each run has new `fixtures`."""
    for parameters in _parameters(getattr(contract, name)):
        test = partial(getattr(contract(), name), **fixtures(), **parameters)
        try:
            if iscoroutinefunction(test.func):
                anyio.run(test)
            else:
                test()
        except BaseException as error:
            # "DID NOT RAISE" of pytest is no `Exception`.
            if isinstance(error, KeyboardInterrupt):
                raise
            return True
    return False


def _parameters(test: Any) -> Iterator[dict[str, Any]]:
    """Give what `pytest.mark.parametrize` says, all of it with all."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    rows = [
        [
            dict(
                zip(
                    names_of(mark.args[0]),
                    row if len(names_of(mark.args[0])) > 1 else (row,),
                    strict=True,
                )
            )
            for row in mark.args[1]
        ]
        for mark in marks
    ]
    for chosen in product(*rows):
        yield {name: value for row in chosen for name, value in row.items()}


def names_of(argument: Any) -> list[str]:
    return [argument] if isinstance(argument, str) else list(argument)
