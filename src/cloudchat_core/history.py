"""An ordered map that never changes: the one container behind every bounded list of the workspace.

Messages, worklog, instances, operations and remembered commands are all "things by name, oldest first, the oldest go
when there are too many". State is immutable so that a batch whose append failed can simply be dropped.

Most of these lists are short, and a short dict is copied in less time than it takes to change one place of a tree.
Those that have grown long are two trees (`immutables.Map`), of which a changed copy takes O(log n).
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, Generic, TypeVar

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")

SHORT: Final = 300
"""Entries up to which a map is copied as a whole: more than a token's remembered commands."""


class OrderedMap(Generic[K, V]):
    """An immutable mapping that remembers the order in which its keys were first set."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[K, V]] = ()) -> None:
        self._items: dict[K, V] = dict(items)

    def set(self, key: K, value: V, without: Collection[K] = ()) -> "OrderedMap[K, V]":
        """Return a copy with `key` at `value`: in its place where it is known, else as the newest.

        It has none of the keys `without`, which is to name others.
        """
        if len(self._items) > SHORT:
            return _Long(self.items()).set(key, value, without)
        items = self._items.copy()
        for old in without:
            items.pop(old, None)
        items[key] = value
        return _short(items)

    def delete(self, key: K) -> "OrderedMap[K, V]":
        """Return a copy without `key`; the same object where it is unknown."""
        if key not in self._items:
            return self
        if len(self._items) > SHORT:
            return _Long(self.items()).delete(key)
        items = self._items.copy()
        del items[key]
        return _short(items)

    def newest(self, count: int) -> "OrderedMap[K, V]":
        """Return a copy with no more than the newest `count` entries."""
        left = max(0, count)
        return self if len(self) <= left else OrderedMap(self.items()[len(self) - left :])

    def get(self, key: K) -> V | None:
        """Return what is at `key`, None where there is nothing."""
        return self._items.get(key)

    def oldest(self, count: int = 1) -> tuple[K, ...]:
        """Return the keys of the oldest entries, `count` at most."""
        return tuple(islice(self._items, max(0, count)))

    def first(self) -> V | None:
        """Return the oldest value, None where there is none."""
        return next(iter(self._items.values()), None)

    def last(self) -> V | None:
        """Return the newest value, None where there is none."""
        return next(reversed(self._items.values()), None)

    def items(self) -> list[tuple[K, V]]:
        """Return keys and values, oldest first."""
        return list(self._items.items())

    def values(self) -> list[V]:
        """Return the values, oldest first."""
        return [value for _, value in self.items()]

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[K]:
        return iter([key for key, _ in self.items()])

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


def _short(items: dict[K, V]) -> OrderedMap[K, V]:
    made = OrderedMap[K, V].__new__(OrderedMap)
    made._items = items  # noqa: SLF001 - a constructor by another way
    return made


class _Long(OrderedMap[K, V]):
    """One with many entries: a tree of values by key, with the number of each key, and a tree of keys by number."""

    __slots__ = ("_first", "_next", "_numbered", "_order")

    def __init__(self, items: Iterable[tuple[K, V]] = ()) -> None:
        pairs = list(items)
        self._numbered: Map[K, tuple[int, V]] = Map(
            (key, (number, value)) for number, (key, value) in enumerate(pairs)
        )
        self._order: Map[int, K] = Map((number, key) for number, (key, _) in enumerate(pairs))
        self._first = 0
        self._next = len(pairs)

    @classmethod
    def _of(
        cls, numbered: "Map[K, tuple[int, V]]", order: "Map[int, K]", first: int, following: int
    ) -> "_Long[K, V]":
        made = cls.__new__(cls)
        made._numbered, made._order = numbered, order  # noqa: SLF001 - a constructor by another way
        made._first, made._next = first, following  # noqa: SLF001
        return made

    def set(self, key: K, value: V, without: Collection[K] = ()) -> OrderedMap[K, V]:
        if without:
            kept: OrderedMap[K, V] = self
            for old in without:
                kept = kept.delete(old)
            return kept.set(key, value)
        known = self._numbered.get(key)
        if known is not None:
            changed = self._numbered.set(key, (known[0], value))
            return self._of(changed, self._order, self._first, self._next)
        number = self._next
        return self._of(
            self._numbered.set(key, (number, value)),
            self._order.set(number, key),
            self._first,
            number + 1,
        )

    def delete(self, key: K) -> "_Long[K, V]":
        known = self._numbered.get(key)
        if known is None:
            return self
        order, first, following = self._order.delete(known[0]), self._first, self._next
        while first < following and first not in order:
            first += 1
        while following > first and following - 1 not in order:
            following -= 1
        return self._of(self._numbered.delete(key), order, first, following)

    def get(self, key: K) -> V | None:
        known = self._numbered.get(key)
        return None if known is None else known[1]

    def oldest(self, count: int = 1) -> tuple[K, ...]:
        found: list[K] = []
        number = self._first
        while number < self._next and len(found) < count:
            if number in self._order:
                found.append(self._order[number])
            number += 1
        return tuple(found)

    def first(self) -> V | None:
        return self._numbered[self._order[self._first]][1] if self._numbered else None

    def last(self) -> V | None:
        return self._numbered[self._order[self._next - 1]][1] if self._numbered else None

    def items(self) -> list[tuple[K, V]]:
        return [(key, self._numbered[key][1]) for _, key in sorted(self._order.items())]

    def __contains__(self, key: object) -> bool:
        return key in self._numbered

    def __len__(self) -> int:
        return len(self._numbered)
