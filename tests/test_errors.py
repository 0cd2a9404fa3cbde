"""Suggestions for a name that is not there."""

import pytest

from recsdk.errors import nearest


@pytest.mark.parametrize(("num", "is_told"), [(256, True), (257, False), (100_000, False)])
def test_of_many_known_names_none_is_compared(monkeypatch, num, is_told):
    compared = []
    monkeypatch.setattr("difflib.get_close_matches", lambda name, known, n: compared.append(len(known)) or ["x"])
    assert bool(nearest("item-x", (f"item-{number}" for number in range(num)))) == is_told
    assert compared == [num] * is_told


def test_for_a_long_name_none_is_suggested():
    known = "a" * 128
    assert nearest("a" * 127 + "b", [known]) == f" Did you mean {known!r}?"
    assert nearest("a" * 128 + "b", [known]) == ""
