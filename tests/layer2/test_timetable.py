"""Which addresses are due when: against a model that looks at all of them."""

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2.timetable import Part, Timetable

A, B, C = (bytes([192, 0, 2, n]) for n in (1, 2, 3))


def test_an_empty_one_is_never_due():
    assert Timetable().next_due() is None
    assert Timetable().take(1e9, 10) == []


def test_what_is_due_comes_by_time_and_in_the_order_it_was_put():
    table = Timetable()
    table.put([C], 2.0, "x")
    table.put([B, A], 1.0, "y")
    assert table.take(1.5, 10) == [Part(1.0, "y", [B, A])]
    assert table.next_due() == 2.0


def test_a_limit_leaves_the_rest_for_the_next_time():
    table = Timetable()
    table.put([A, B], 1.0, "x")
    table.put([C], 1.0, "y")
    assert table.take(1.0, 1) == [Part(1.0, "x", [A])]
    assert table.take(1.0, 2) == [Part(1.0, "x", [B]), Part(1.0, "y", [C])]
    assert table.next_due() is None


def test_an_address_has_one_entry_the_last():
    table = Timetable()
    table.put([A, B], 1.0, "x")
    table.put([A], 2.0, "y")
    assert (len(table), table.mark(A)) == (2, "y")
    assert table.take(9.0, 10) == [Part(1.0, "x", [B]), Part(2.0, "y", [A])]


def test_an_address_that_was_put_twice_at_the_same_time_comes_once():
    table = Timetable()
    table.put([A, B], 1.0, "x")
    table.remove([A])
    table.put([A], 1.0, "x")
    assert sorted(table.take(1.0, 10)[0].addresses) == [A, B]
    assert (len(table), table.next_due()) == (0, None)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "remove", "take"]),
            st.lists(st.sampled_from([A, B, C]), unique=True),
            st.integers(0, 5),
        ),
        max_size=30,
    )
)
def test_it_agrees_with_a_model_that_looks_at_all(steps):
    table, model = Timetable(), {}
    for step, addresses, number in steps:
        if step == "put":
            table.put(addresses, number, number % 2)
            model.update(dict.fromkeys(addresses, (number, number % 2)))
        elif step == "remove":
            table.remove(addresses)
            model = {ip: entry for ip, entry in model.items() if ip not in addresses}
        else:
            taken = {ip: (part.due, part.mark) for part in table.take(number, 10) for ip in part.addresses}
            assert taken == {ip: entry for ip, entry in model.items() if entry[0] <= number}
            model = {ip: entry for ip, entry in model.items() if ip not in taken}
        assert set(table.addresses()) == set(model)
        assert table.next_due() == min((due for due, _ in model.values()), default=None)
