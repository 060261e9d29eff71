"""Tables for terminals."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from shortlist.cli.table import _width, table_lines


def test_chinese_takes_two_cells():
    lines = table_lines(["id", "title"], [["1", "牛奶"], ["22", "milk"]], {0}, 80)
    assert lines == ["id  title", "---------", " 1  牛奶", "22  milk"]


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=5))
def test_a_table_fits_its_terminal(rows: list[tuple[str, str]]):
    """No line is wider than asked, and no control character reaches the terminal."""
    lines = table_lines(["one", "another"], rows, {1}, 40)
    assert all(_width(line) <= 40 for line in lines)
    assert all(character.isprintable() for line in lines for character in line)
    assert len(lines) == len(rows) + 2
