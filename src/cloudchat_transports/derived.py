"""What is worked out from parts of the state, once for all who ask: it is immutable, so the same parts say the same.

Ten thousand instances take tens of milliseconds to write out, and everybody else waits for that. Chat goes on without
touching them, so what was written stays right until one of its own parts is another object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Derived(Generic[T]):
    """A value and the parts that it was made of."""

    def __init__(self) -> None:
        self._known: tuple[tuple[object, ...], T] | None = None

    def get(self, parts: tuple[object, ...], make: Callable[[], T]) -> T:
        """Return what `make` makes of `parts`, the last value where they are still the same objects."""
        known = self._known
        if known is None or any(old is not new for old, new in zip(known[0], parts, strict=True)):
            known = self._known = parts, make()
        return known[1]
