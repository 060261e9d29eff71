"""Lines are lost and counted rather than waited for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from common.process.line_writer import LineWriter

LINE = "x" * 1_000 + "\n"
FULL = 1 << 21  # twice what waits in memory, and far more than a pipe holds


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return a pipe's ends for reading and writing."""
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_lines_arrive_in_order(pipe: tuple[int, int]):
    """Lines are written whole and in order, and none is lost."""
    writer = LineWriter(pipe[1])
    for number in range(100):
        writer.write(f"line {number} é \udcff\n")
    writer.flush()
    os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0])) as reader:
        assert reader.read().splitlines() == [f"line {number} é \\udcff" for number in range(100)]
    assert writer.lost == 0


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(pipe: tuple[int, int]):
    """Writing never waits; the lines that were lost are counted, and said once somebody reads again."""
    writer = LineWriter(pipe[1], lambda count: f"lost {count}\n")
    for _ in range(FULL // len(LINE)):
        writer.write(LINE)
    writer.flush(0.01)
    lost = writer.lost
    assert 0 < lost < FULL // len(LINE)
    kept = reported = 0
    rest = ""
    while kept + reported < FULL // len(LINE):
        *whole, rest = (rest + os.read(pipe[0], 1 << 20).decode()).split("\n")
        kept += sum(line == LINE.rstrip() for line in whole)
        reported += sum(int(line.removeprefix("lost ")) for line in whole if line.startswith("lost "))
    assert reported == writer.lost == lost


def test_a_closed_pipe_costs_lines(pipe: tuple[int, int]):
    """Lines to a pipe whose reader is gone are counted as lost, and the next ones are tried all the same."""
    writer = LineWriter(pipe[1])
    os.close(pipe[0])
    for count in (1, 2):
        writer.write("line\n")
        writer.flush()
        assert writer.lost == count
