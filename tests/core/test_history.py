"""An ordered map that never changes keeps the order in which its keys came."""

from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.history import OrderedMap

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "newest"]), st.integers(0, 9), st.integers())
)


@given(STEPS)
def test_it_is_what_a_dict_would_be_and_its_past_stays(steps: list[tuple[str, int, int]]) -> None:
    kept = OrderedMap[int, int]()
    model: dict[int, int] = {}
    past = []
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
            case _:
                kept = kept.newest(key)
                for old in list(model)[: max(0, len(model) - key)]:
                    del model[old]
        assert kept.items() == list(model.items())
        assert kept.values() == list(model.values())
        assert list(kept) == list(model)
        assert len(kept) == len(model)
        assert kept.oldest(key) == tuple(model)[:key]
        assert kept.first() == next(iter(model.values()), None)
        assert kept.last() == next(reversed(model.values()), None)
        assert (key in kept) == (key in model)
        assert kept.get(key) == model.get(key)
    for then, model_then in past:
        assert then.items() == list(model_then.items())


@given(st.lists(st.tuples(st.integers(), st.integers()), unique_by=lambda item: item[0]))
def test_two_with_the_same_items_in_the_same_order_are_equal(items: list[tuple[int, int]]) -> None:
    one, other = OrderedMap(items), OrderedMap[int, int]().set(-1, 0)
    for key, value in items:
        other = other.set(key, value)
    assert other.delete(-1) == OrderedMap(item for item in items if item[0] != -1)
    assert hash(one) == hash(OrderedMap(items))
    assert repr(one) == f"OrderedMap({items!r})"
    assert one != items
    assert (one == OrderedMap(reversed(items))) == (len(items) < 2)
