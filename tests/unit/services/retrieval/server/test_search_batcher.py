"""Searches that wait at the same time share turns of threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.retrieval.server.search_batcher import SearchBatcher, SearchBatcherOptions

THREADS = 2
MAX_BATCH = SearchBatcherOptions().max_batch
MIN_PER_THREAD = SearchBatcherOptions().min_per_thread


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return two threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


class Gate:
    """Returns squares once it is opened; records the numbers of each turn."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.turns: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        """Return the squares, unless -1 is among the numbers."""
        self.turns.append(list(numbers))
        assert self.open.wait(10)
        if -1 in numbers:
            raise ValueError("no such thing")
        return [number * number for number in numbers]


async def begun(gate: Gate, turns: int) -> None:
    """Wait until a number of turns have begun."""
    async with asyncio.timeout(10):
        while len(gate.turns) < turns:  # noqa: ASYNC110 - threads begin them
            await asyncio.sleep(0)


async def occupied(
    batcher: SearchBatcher[int, int], gate: Gate, threads: int = THREADS
) -> list[asyncio.Task[list[int]]]:
    """Keep every thread busy with a large slice."""
    tasks = [asyncio.create_task(batcher.submit([number] * MAX_BATCH)) for number in range(threads)]
    await begun(gate, threads)
    return tasks


async def test_a_request_that_finds_a_free_thread_is_searched_alone(pool: ThreadPoolExecutor):
    """No request waits for a batch to fill."""
    gate = Gate()
    gate.open.set()
    batcher = SearchBatcher(gate, pool, THREADS)
    assert [await batcher.submit([number]) for number in (3, 4)] == [[9], [16]]
    assert gate.turns == [[3], [4]]


async def test_one_thread_searches_a_few_requests(pool: ThreadPoolExecutor):
    """Up to `min_per_thread` waiting requests start no further thread: one takes them all, in order."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    tasks = [asyncio.create_task(batcher.submit([0]))]
    await begun(gate, 1)
    tasks += [asyncio.create_task(batcher.submit([number])) for number in range(1, MIN_PER_THREAD + 1)]
    await asyncio.sleep(0)
    gate.open.set()
    assert [answer for (answer,) in await asyncio.gather(*tasks)] == [
        number * number for number in range(MIN_PER_THREAD + 1)
    ]
    assert gate.turns == [[0], [*range(1, MIN_PER_THREAD + 1)]]


async def test_a_request_does_not_wait_for_a_large_slice(pool: ThreadPoolExecutor):
    """A request that arrives while one thread searches a large slice is searched by another thread."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    long = asyncio.create_task(batcher.submit([1] * MAX_BATCH))
    await begun(gate, 1)
    late = asyncio.create_task(batcher.submit([5]))
    await begun(gate, 2)
    gate.open.set()
    assert await late == [25]
    assert await long == [1] * MAX_BATCH
    assert gate.turns == [[1] * MAX_BATCH, [5]]


async def test_requests_are_shared_evenly():
    """Requests that arrived while all threads were busy are divided equally among all but one, in order."""
    gate, threads = Gate(), 3
    with ThreadPoolExecutor(threads) as pool:
        batcher = SearchBatcher(gate, pool, threads)
        tasks = await occupied(batcher, gate, threads)
        numbers = range(10, 10 + 2 * MIN_PER_THREAD + 2)
        tasks += [asyncio.create_task(batcher.submit([number])) for number in numbers]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
    assert max(gate.turns[threads:], key=len) == list(numbers[: MIN_PER_THREAD + 1])
    assert sorted(number for turn in gate.turns[threads:] for number in turn) == list(numbers)


async def test_a_core_is_left_to_the_event_loop(pool: ThreadPoolExecutor):
    """Of two threads one takes all single requests that wait; the other one is for large slices."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, 2)
    tasks = [asyncio.create_task(batcher.submit([0]))]
    await begun(gate, 1)
    tasks += [asyncio.create_task(batcher.submit([number])) for number in range(1, MAX_BATCH + 1)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.turns == [[0], [*range(1, MAX_BATCH + 1)]]


async def test_calls_that_arrive_together_with_a_large_one_do_not_wait(pool: ThreadPoolExecutor):
    """Of two calls that arrive together, each has a thread if one of them is large, in either order."""
    for calls in (
        [[1] * MAX_BATCH, [2]],
        [[2], [1] * MAX_BATCH],
        [[1] * (MIN_PER_THREAD + 1), [2]],
        [[1] * MAX_BATCH, [2] * MAX_BATCH],
    ):
        gate = Gate()
        batcher = SearchBatcher(gate, pool, THREADS)
        tasks = [asyncio.create_task(batcher.submit(call)) for call in calls]
        await begun(gate, len(calls))
        assert sorted(gate.turns) == sorted(calls)
        gate.open.set()
        assert await asyncio.gather(*tasks) == [[number * number for number in call] for call in calls]


async def test_the_requests_of_a_call_share_a_turn(pool: ThreadPoolExecutor):
    """The requests of a call of up to `max_batch` stay together, and no turn takes more than `max_batch`."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(batcher, gate)
    calls = [list(range(start, start + MAX_BATCH - 1)) for start in (100, 200, 300)]
    tasks += [asyncio.create_task(batcher.submit(call)) for call in calls]
    await asyncio.sleep(0)
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert answers[THREADS:] == [[number * number for number in call] for call in calls]
    assert sorted(gate.turns[2:]) == calls


async def test_a_failing_request_fails_its_own_call_only(pool: ThreadPoolExecutor):
    """If a turn fails, each of its calls is searched alone, and only the failing one gets the error."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(batcher, gate)
    tasks += [asyncio.create_task(batcher.submit([number])) for number in (5, -1, 6, 7)]
    await asyncio.sleep(0)
    gate.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[2] == [25]
    assert isinstance(answers[3], ValueError)
    assert answers[4:] == [[36], [49]]


async def test_a_cancelled_call_is_not_searched(pool: ThreadPoolExecutor):
    """A call that is cancelled while it waits takes no turn; one that is being searched is finished."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(batcher, gate)
    gone, stays = (asyncio.create_task(batcher.submit([number])) for number in (8, 9))
    await asyncio.sleep(0)
    gone.cancel()
    tasks[0].cancel()
    await asyncio.wait([gone, tasks[0]])
    gate.open.set()
    assert await stays == [81]
    assert await tasks[1] == [1] * MAX_BATCH
    assert not any(8 in turn for turn in gate.turns)


async def test_concurrent_calls_get_their_own_results(pool: ThreadPoolExecutor):
    """Many callers at once each get the results of their own requests."""
    batcher = SearchBatcher(lambda numbers: [number + 1 for number in numbers], pool, THREADS)

    async def caller(first: int) -> None:
        for start in range(first, first + 200, 4):
            numbers = list(range(start, start + start % 5 + 1))
            assert await batcher.submit(numbers) == [number + 1 for number in numbers]

    await asyncio.gather(*(caller(1_000 * number) for number in range(8)))


async def test_other_work_of_the_pool_gets_its_turn(pool: ThreadPoolExecutor):
    """A read queued behind many searches runs after one turn of each thread, not after all searches."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(batcher, gate)
    tasks += [asyncio.create_task(batcher.submit([number] * MAX_BATCH)) for number in range(2, 12)]
    await asyncio.sleep(0)  # they wait now
    read = pool.submit(lambda: len(gate.turns))
    gate.open.set()
    turns_before = await asyncio.wrap_future(read)
    await asyncio.gather(*tasks)
    assert turns_before < len(gate.turns) == 12


async def test_closing_the_pool_finishes_queued_searches(pool: ThreadPoolExecutor):
    """Requests that waited when the pool was closed are searched before its threads end."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(batcher, gate)
    tasks += [asyncio.create_task(batcher.submit([number] * MAX_BATCH)) for number in (5, 6, 7)]
    await asyncio.sleep(0)
    pool.shutdown(wait=False)
    gate.open.set()
    assert [answers[0] for answers in await asyncio.gather(*tasks)] == [0, 1, 25, 36, 49]


@pytest.mark.parametrize("count", [1, MAX_BATCH, MAX_BATCH + 1, 5 * MAX_BATCH - 3])
async def test_a_long_call_is_cut_into_slices(pool: ThreadPoolExecutor, count: int):
    """A call of any size gets its results in order, in turns of at most `max_batch`."""
    gate = Gate()
    gate.open.set()
    batcher = SearchBatcher(gate, pool, THREADS)
    assert await batcher.submit(list(range(count))) == [number * number for number in range(count)]
    assert len(gate.turns) == -(-count // MAX_BATCH)
    assert max(map(len, gate.turns)) <= MAX_BATCH


async def test_a_long_call_leaves_turns_to_others(pool: ThreadPoolExecutor):
    """A request that arrives during a long call is searched before the call's remaining slices."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS)
    long = asyncio.create_task(batcher.submit([1] * (6 * MAX_BATCH)))
    await begun(gate, THREADS)
    late = asyncio.create_task(batcher.submit([5]))
    await asyncio.sleep(0)
    gate.open.set()
    assert await late == [25]
    assert len(await long) == 6 * MAX_BATCH
    assert gate.turns.index([5]) <= THREADS + 1


async def test_options_bound_turns_and_threads(pool: ThreadPoolExecutor):
    """`max_batch` bounds a turn; a slice of more than `min_per_thread` requests is large and searched alone."""
    gate = Gate()
    batcher = SearchBatcher(gate, pool, THREADS, SearchBatcherOptions(max_batch=3, min_per_thread=1))
    tasks = [asyncio.create_task(batcher.submit(numbers)) for numbers in ([1] * 3, [2] * 2, [3], [4])]
    await begun(gate, THREADS)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.turns == [[1] * 3, [2] * 2, [3, 4]]


async def test_calls_for_which_nobody_waits_yield_but_not_for_ever():
    """They have their turn when no other waits, and after `max_passed` turns of others at the latest."""
    order: list[int] = []
    may_begin = threading.Event()

    def search(requests: Sequence[int]) -> list[int]:
        may_begin.wait()
        order.extend(requests)
        return list(requests)

    options = SearchBatcherOptions(max_batch=1, min_per_thread=1, max_passed=3)
    with ThreadPoolExecutor(1) as pool:
        batcher = SearchBatcher(search, pool, 1, options)
        calls = [asyncio.create_task(batcher.submit([0]))]
        await asyncio.sleep(0)  # it is being searched before others come
        calls += [asyncio.create_task(batcher.submit([100 + at], yields=True)) for at in range(2)]
        calls += [asyncio.create_task(batcher.submit([at])) for at in range(1, 6)]
        await asyncio.sleep(0)
        may_begin.set()
        assert sorted(value for (value,) in await asyncio.gather(*calls)) == [0, 1, 2, 3, 4, 5, 100, 101]
    assert [at for at in order if at < 100] == [0, 1, 2, 3, 4, 5]
    assert order.index(100) == 4
    assert order[-1] == 101
