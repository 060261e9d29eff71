"""Waiting searches share the turns of threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.retrieval.server.search_batcher import MAX_BATCH, MIN_PER_WORKER, SearchBatcher

THREADS = 2
Answer = Callable[[Sequence[int]], list[int]]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return two threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


class Gate:
    """Answers with the square, once it is opened; notes what was asked in each turn."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.turns: list[list[int]] = []

    def __call__(self, asked: Sequence[int]) -> list[int]:
        """Answer."""
        self.turns.append(list(asked))
        assert self.open.wait(10)
        if -1 in asked:
            raise ValueError("no such thing")
        return [number * number for number in asked]


async def begun(gate: Gate, turns: int) -> None:
    """Wait until so many turns have begun."""
    async with asyncio.timeout(10):
        while len(gate.turns) < turns:  # noqa: ASYNC110 - threads begin them
            await asyncio.sleep(0)


async def occupied(queue: SearchBatcher[int, int], gate: Gate, threads: int = THREADS) -> list[asyncio.Task[list[int]]]:
    """Give every thread something to do."""
    tasks = [asyncio.create_task(queue.ask([number] * MAX_BATCH)) for number in range(threads)]
    await begun(gate, threads)
    return tasks


async def test_who_finds_a_thread_free_is_answered_alone(pool: ThreadPoolExecutor):
    """Nothing waits for company."""
    gate = Gate()
    gate.open.set()
    queue = SearchBatcher(gate, pool, THREADS)
    assert [await queue.ask([number]) for number in (3, 4)] == [[9], [16]]
    assert gate.turns == [[3], [4]]


async def test_few_are_answered_by_one_thread(pool: ThreadPoolExecutor):
    """Another thread begins only once more wait than it is worth; until then the first one takes all, in order."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, THREADS)
    tasks = [asyncio.create_task(queue.ask([0]))]
    await begun(gate, 1)
    tasks += [asyncio.create_task(queue.ask([number])) for number in range(1, MIN_PER_WORKER + 1)]
    await asyncio.sleep(0)
    gate.open.set()
    assert [answer for (answer,) in await asyncio.gather(*tasks)] == [
        number * number for number in range(MIN_PER_WORKER + 1)
    ]
    assert gate.turns == [[0], [*range(1, MIN_PER_WORKER + 1)]]


async def test_nobody_waits_for_a_long_turn(pool: ThreadPoolExecutor):
    """Who comes while one thread is in a long turn is answered by another one, alone."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, THREADS)
    long = asyncio.create_task(queue.ask([1] * MAX_BATCH))
    await begun(gate, 1)
    late = asyncio.create_task(queue.ask([5]))
    await begun(gate, 2)
    gate.open.set()
    assert await late == [25]
    assert await long == [1] * MAX_BATCH
    assert gate.turns == [[1] * MAX_BATCH, [5]]


async def test_many_are_shared_out_evenly():
    """What came while all threads were at work is taken in equal parts by all but one, in its order."""
    gate, threads = Gate(), 3
    with ThreadPoolExecutor(threads) as pool:
        queue = SearchBatcher(gate, pool, threads)
        tasks = await occupied(queue, gate, threads)
        numbers = range(10, 10 + 2 * MIN_PER_WORKER + 2)
        tasks += [asyncio.create_task(queue.ask([number])) for number in numbers]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
    assert max(gate.turns[threads:], key=len) == list(numbers[: MIN_PER_WORKER + 1])
    assert sorted(number for turn in gate.turns[threads:] for number in turn) == list(numbers)


async def test_a_core_is_left_to_the_event_loop(pool: ThreadPoolExecutor):
    """Of two threads one takes all single requests that wait, however many; the other is for beside long turns."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, 2)
    tasks = [asyncio.create_task(queue.ask([0]))]
    await begun(gate, 1)
    tasks += [asyncio.create_task(queue.ask([number])) for number in range(1, MAX_BATCH + 1)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.turns == [[0], [*range(1, MAX_BATCH + 1)]]


async def test_who_comes_with_a_long_call_does_not_wait_for_it(pool: ThreadPoolExecutor):
    """Calls that come at once have a thread each where one of them is long, whichever comes first."""
    for calls in (
        [[1] * MAX_BATCH, [2]],
        [[2], [1] * MAX_BATCH],
        [[1] * (MIN_PER_WORKER + 1), [2]],
        [[1] * MAX_BATCH, [2] * MAX_BATCH],
    ):
        gate = Gate()
        queue = SearchBatcher(gate, pool, THREADS)
        tasks = [asyncio.create_task(queue.ask(call)) for call in calls]
        await begun(gate, len(calls))
        assert sorted(gate.turns) == sorted(calls)
        gate.open.set()
        assert await asyncio.gather(*tasks) == [[number * number for number in call] for call in calls]


async def test_a_call_of_several_is_answered_in_one_turn(pool: ThreadPoolExecutor):
    """A call's requests stay together, however many threads there are, and no turn takes more than the most."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(queue, gate)
    calls = [list(range(start, start + MAX_BATCH - 1)) for start in (100, 200, 300)]
    tasks += [asyncio.create_task(queue.ask(call)) for call in calls]
    await asyncio.sleep(0)
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert answers[THREADS:] == [[number * number for number in call] for call in calls]
    assert sorted(gate.turns[2:]) == calls


async def test_a_poisonous_request_harms_no_other(pool: ThreadPoolExecutor):
    """Where a turn fails, each call is answered by itself, and the one at fault gets its error."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(queue, gate)
    tasks += [asyncio.create_task(queue.ask([number])) for number in (5, -1, 6, 7)]
    await asyncio.sleep(0)
    gate.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[2] == [25]
    assert isinstance(answers[3], ValueError)
    assert answers[4:] == [[36], [49]]


async def test_who_went_away_is_not_searched_for(pool: ThreadPoolExecutor):
    """A cancelled call that still waits takes no turn, and one under way is finished for nobody."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(queue, gate)
    gone, stays = (asyncio.create_task(queue.ask([number])) for number in (8, 9))
    await asyncio.sleep(0)
    gone.cancel()
    tasks[0].cancel()
    await asyncio.wait([gone, tasks[0]])
    gate.open.set()
    assert await stays == [81]
    assert await tasks[1] == [1] * MAX_BATCH
    assert not any(8 in turn for turn in gate.turns)


async def test_every_call_is_answered_however_many_come(pool: ThreadPoolExecutor):
    """Calls that come all the while from many callers each get their own answers."""
    queue = SearchBatcher(lambda asked: [number + 1 for number in asked], pool, THREADS)

    async def caller(first: int) -> None:
        for start in range(first, first + 200, 4):
            asked = list(range(start, start + start % 5 + 1))
            assert await queue.ask(asked) == [number + 1 for number in asked]

    await asyncio.gather(*(caller(1_000 * number) for number in range(8)))


async def test_what_else_the_threads_do_has_its_turn(pool: ThreadPoolExecutor):
    """Searches that keep coming do not keep a read out: it comes after one turn of each thread, not after all."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(queue, gate)
    tasks += [asyncio.create_task(queue.ask([number] * MAX_BATCH)) for number in range(2, 12)]
    await asyncio.sleep(0)  # they wait now
    read = pool.submit(lambda: len(gate.turns))
    gate.open.set()
    turns_before = await asyncio.wrap_future(read)
    await asyncio.gather(*tasks)
    assert turns_before < len(gate.turns) == 12


async def test_a_pool_that_is_closed_answers_who_waits(pool: ThreadPoolExecutor):
    """Who waited when the threads were to end is answered first."""
    gate = Gate()
    queue = SearchBatcher(gate, pool, THREADS)
    tasks = await occupied(queue, gate)
    tasks += [asyncio.create_task(queue.ask([number] * MAX_BATCH)) for number in (5, 6, 7)]
    await asyncio.sleep(0)
    pool.shutdown(wait=False)
    gate.open.set()
    assert [answers[0] for answers in await asyncio.gather(*tasks)] == [0, 1, 25, 36, 49]
