"""No name of a user's can be taken for the rest, and no two become one."""

from hypothesis import example, given
from hypothesis import strategies as st

from streamlearn.core.other import OTHER, apart

names = st.one_of(st.text(), st.integers(0, 5).map(lambda n: OTHER + "_" * n))


@given(names, names)
@example("other", "other_")
@example("other", "_other")
def test_names_are_kept_apart(one, two):
    assert OTHER not in {apart(one), apart(two)}
    assert (apart(one) == apart(two)) is (one == two)


@given(st.text())
def test_a_name_that_is_nothing_like_it_stays(name):
    if not name.startswith(OTHER):
        assert apart(name) == name
