"""An ordered map that never changes: the one container behind every bounded list of the workspace.

Messages, worklog, instances, operations and remembered commands are all "things by name, oldest first, the oldest go
when there are too many". State is immutable so that a batch whose append failed can simply be dropped; `immutables.Map`
makes a changed copy in O(log n).
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")


class OrderedMap(Generic[K, V]):
    """An immutable mapping that remembers the order in which its keys were first set."""

    __slots__ = ("_first", "_items", "_next", "_order")

    def __init__(self, items: Iterable[tuple[K, V]] = ()) -> None:
        pairs = list(items)
        self._items: Map[K, tuple[int, V]] = Map(
            (key, (number, value)) for number, (key, value) in enumerate(pairs)
        )
        self._order: Map[int, K] = Map((number, key) for number, (key, _) in enumerate(pairs))
        self._first = 0
        self._next = len(pairs)

    @classmethod
    def _of(
        cls, items: "Map[K, tuple[int, V]]", order: "Map[int, K]", first: int, following: int
    ) -> "OrderedMap[K, V]":
        made = cls.__new__(cls)
        made._items, made._order = items, order  # noqa: SLF001 - a constructor by another way
        made._first, made._next = first, following  # noqa: SLF001
        return made

    def set(self, key: K, value: V) -> "OrderedMap[K, V]":
        """Return a copy with `key` at `value`: in its place where it is known, else as the newest."""
        known = self._items.get(key)
        if known is not None:
            return self._of(
                self._items.set(key, (known[0], value)), self._order, self._first, self._next
            )
        number = self._next
        return self._of(
            self._items.set(key, (number, value)),
            self._order.set(number, key),
            self._first,
            number + 1,
        )

    def delete(self, key: K) -> "OrderedMap[K, V]":
        """Return a copy without `key`; the same object where it is unknown."""
        known = self._items.get(key)
        if known is None:
            return self
        order, first, following = self._order.delete(known[0]), self._first, self._next
        while first < following and first not in order:
            first += 1
        while following > first and following - 1 not in order:
            following -= 1
        return self._of(self._items.delete(key), order, first, following)

    def newest(self, count: int) -> "OrderedMap[K, V]":
        """Return a copy with no more than the newest `count` entries."""
        kept = self
        while len(kept) > count:
            kept = kept.delete(kept._order[kept._first])
        return kept

    def get(self, key: K) -> V | None:
        """Return what is at `key`, None where there is nothing."""
        known = self._items.get(key)
        return None if known is None else known[1]

    def oldest(self, count: int = 1) -> tuple[K, ...]:
        """Return the keys of the oldest entries, `count` at most."""
        found: list[K] = []
        number = self._first
        while number < self._next and len(found) < count:
            if number in self._order:
                found.append(self._order[number])
            number += 1
        return tuple(found)

    def first(self) -> V | None:
        """Return the oldest value, None where there is none."""
        return self._items[self._order[self._first]][1] if self._items else None

    def last(self) -> V | None:
        """Return the newest value, None where there is none."""
        return self._items[self._order[self._next - 1]][1] if self._items else None

    def items(self) -> list[tuple[K, V]]:
        """Return keys and values, oldest first."""
        return [(key, self._items[key][1]) for _, key in sorted(self._order.items())]

    def values(self) -> list[V]:
        """Return the values, oldest first."""
        return [self._items[key][1] for _, key in sorted(self._order.items())]

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[K]:
        return iter([key for _, key in sorted(self._order.items())])

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrderedMap):
            return NotImplemented
        return self.items() == other.items()

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return f"OrderedMap({self.items()!r})"
