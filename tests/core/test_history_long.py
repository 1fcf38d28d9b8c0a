"""An ordered map that has grown long is another structure, and no other map."""

from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.history import SHORT, OrderedMap

GROWN = [(number, -number) for number in range(SHORT + 3)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "newest", "forget"]),
        st.integers(-3, SHORT + 9),
        st.integers(),
    ),
    max_size=12,
)


@given(st.integers(-3, 3), STEPS)
def test_it_is_what_a_dict_would_be_and_its_past_stays(
    more: int, steps: list[tuple[str, int, int]]
) -> None:
    grown = GROWN[: SHORT + more]
    kept = OrderedMap(grown)
    model, past = dict(grown), []
    for step, key, value in steps:
        past.append((kept, dict(model)))
        match step:
            case "set":
                kept = kept.set(key, value)
                model[key] = value
            case "delete":
                before, kept = kept, kept.delete(key)
                if model.pop(key, None) is None:
                    assert kept is before
            case "forget":
                oldest = kept.oldest(2)
                kept = kept.set(-9, value, oldest)
                model = {name: held for name, held in model.items() if name not in oldest}
                model[-9] = value
            case _:
                kept = kept.newest(key)
                model = dict(list(model.items())[max(0, len(model) - max(key, 0)) :])
        assert kept.items() == list(model.items())
        assert kept.values() == list(model.values())
        assert list(kept) == list(model)
        assert len(kept) == len(model)
        assert kept.oldest(key) == tuple(model)[: max(0, key)]
        assert kept.first() == next(iter(model.values()), None)
        assert kept.last() == next(reversed(model.values()), None)
        assert (key in kept) == (key in model)
        assert kept.get(key) == model.get(key)
    for then, model_then in past:
        assert then.items() == list(model_then.items())


def test_long_and_short_are_equal_where_their_items_are() -> None:
    short = OrderedMap(GROWN)
    grown = short.set(-1, 0).delete(-1)
    assert type(short) is not type(grown)
    assert short == grown
    assert hash(short) == hash(grown)
    assert repr(short) == repr(grown)
    assert grown.delete(1).oldest(3) == (0, 2, 3)
    shrunk = grown.delete(0)
    assert grown.delete("nothing") is grown  # type: ignore[arg-type]
    assert shrunk.newest(2) == OrderedMap(GROWN[-2:])
    emptied = OrderedMap(GROWN).delete(GROWN[-1][0])
    for key, _ in GROWN:
        emptied = emptied.delete(key)
    assert (emptied.first(), emptied.last(), len(emptied)) == (None, None, 0)
