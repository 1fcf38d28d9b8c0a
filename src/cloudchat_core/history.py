"""An ordered map that never changes: the one container behind every bounded list of the workspace.

Messages, worklog, instances, operations and remembered commands are all "things by name, oldest first, the oldest go
when there are too many". State is immutable so that a batch whose append failed can simply be dropped.

Most of these lists are short. They grow at the end and shrink at the beginning, so a changed copy shares all that lies
between: one dict that never changes, a few of whose first keys may be gone, and the few entries that came since. When
those are no longer few, the next copy is made of them all. Lists that have grown long are two trees (`immutables.Map`),
of which a changed copy takes O(log n) wherever the change is.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, Generic, TypeVar

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")

SHORT: Final = 300
"""Entries up to which a map is no tree: more than a token's remembered commands."""

FEW: Final = 16
"""Entries that come before all are copied together: of the size of the square root of a list's."""


class OrderedMap(Generic[K, V]):
    """An immutable mapping that remembers the order in which its keys were first set."""

    __slots__ = ("_base", "_gone", "_since")

    def __init__(self, items: Iterable[tuple[K, V]] = ()) -> None:
        self._base: dict[K, V] = dict(items)
        """Shared by many, and never changed."""
        self._gone: dict[K, None] = {}
        """The first keys of `_base` that are in here no more."""
        self._since: dict[K, V] = {}
        """What stands behind `_base`, and in it not, not even as gone."""

    def set(self, key: K, value: V, without: Collection[K] = ()) -> "OrderedMap[K, V]":
        """Return a copy with `key` at `value`: in its place where it is known, else as the newest.

        It has none of the keys `without`, which is to name others.
        """
        base, gone, since = self._base, self._gone, self._since
        if len(base) > SHORT:
            return _Long(self.items()).set(key, value, without)
        if without:
            begin = len(gone)
            if tuple(without) != tuple(islice(base, begin, begin + len(without))):
                return self._changed(without, key, value)
            gone = gone.copy()
            for old in without:
                gone[old] = None
        if key in base or len(since) >= FEW:
            return self._changed(without, key, value)
        since = since.copy()
        since[key] = value
        return _of(base, gone, since)

    def delete(self, key: K) -> "OrderedMap[K, V]":
        """Return a copy without `key`; the same object where it is unknown."""
        if key not in self:
            return self
        if len(self._base) > SHORT:
            return _Long(self.items()).delete(key)
        items = self._all()
        del items[key]
        return _of(items, {}, {})

    def _all(self) -> dict[K, V]:
        items = self._base.copy()
        for old in self._gone:
            del items[old]
        items.update(self._since)
        return items

    def _changed(self, without: Collection[K], key: K, value: V) -> "OrderedMap[K, V]":
        items = self._all()
        for old in without:
            items.pop(old, None)
        items[key] = value
        return _of(items, {}, {})

    def newest(self, count: int) -> "OrderedMap[K, V]":
        """Return a copy with no more than the newest `count` entries."""
        left = max(0, count)
        return self if len(self) <= left else OrderedMap(self.items()[len(self) - left :])

    def get(self, key: K) -> V | None:
        """Return what is at `key`, None where there is nothing."""
        known = self._base.get(key)
        if known is None:
            return self._since.get(key)
        return None if key in self._gone else known

    def oldest(self, count: int = 1) -> tuple[K, ...]:
        """Return the keys of the oldest entries, `count` at most."""
        if count <= 0:
            return ()
        begin = len(self._gone)
        found = tuple(islice(self._base, begin, begin + count))
        return found + tuple(islice(self._since, count - len(found)))

    def first(self) -> V | None:
        """Return the oldest value, None where there is none."""
        oldest = self.oldest()
        return self.get(oldest[0]) if oldest else None

    def last(self) -> V | None:
        """Return the newest value, None where there is none."""
        newest = self._since or (self._base if len(self) else {})
        return next(reversed(newest.values()), None)

    def items(self) -> list[tuple[K, V]]:
        """Return keys and values, oldest first."""
        return [*islice(self._base.items(), len(self._gone), None), *self._since.items()]

    def values(self) -> list[V]:
        """Return the values, oldest first."""
        return [value for _, value in self.items()]

    def __contains__(self, key: object) -> bool:
        return (key in self._base and key not in self._gone) or key in self._since

    def __iter__(self) -> Iterator[K]:
        return iter([key for key, _ in self.items()])

    def __len__(self) -> int:
        return len(self._base) - len(self._gone) + len(self._since)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrderedMap):
            return NotImplemented
        return self.items() == other.items()

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return f"OrderedMap({self.items()!r})"


def _of(base: dict[K, V], gone: dict[K, None], since: dict[K, V]) -> OrderedMap[K, V]:
    made = OrderedMap[K, V].__new__(OrderedMap)
    made._base, made._gone, made._since = base, gone, since  # noqa: SLF001 - a constructor by another way
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
