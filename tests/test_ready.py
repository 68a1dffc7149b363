"""The ready queue: priorities within a lane, large and small side by side, routes that do not hold each other up."""

from mmgraph.names import Registry
from mmgraph.ready import LARGE, ReadyQueue, Route

A = Route((Registry("src"),), (Registry("a"),))
B = Route((Registry("src"),), (Registry("b"),))


def test_the_smallest_priority_comes_first() -> None:
    """Within a lane items leave by priority, not by arrival."""
    queue: ReadyQueue[str] = ReadyQueue()
    for priority, item in ((3, "c"), (1, "a"), (2, "b")):
        queue.push(A, priority, item)
    assert ["a", "b", "c"] == [queue.pop(A) for _ in range(3)]


def test_ties_are_broken_by_arrival() -> None:
    """Equal priorities leave in the order in which they came, whatever the items are."""
    queue: ReadyQueue[object] = ReadyQueue()
    first, second = object(), object()
    queue.push(A, 1, first)
    queue.push(A, 1, second)
    assert [first, second] == [queue.pop(A), queue.pop(A)]


def test_routes_are_listed_by_their_most_urgent_item() -> None:
    """The route with the most urgent head is asked first, and an empty one not at all."""
    queue: ReadyQueue[str] = ReadyQueue()
    queue.push(A, 5, "later")
    queue.push(B, 1, "now")
    assert [B, A] == queue.routes()
    queue.pop(B)
    assert [A] == queue.routes()


def mixed(count: int) -> ReadyQueue[str]:
    """Return a queue with as many small blobs as large ones, the large ones first in the order of the images."""
    queue: ReadyQueue[str] = ReadyQueue()
    for number in range(count):
        queue.push(A, number, f"L{number}", LARGE)
        queue.push(A, count + number, f"S{number}", LARGE - 1)
    return queue


def start(queue: ReadyQueue[str], count: int) -> list[str]:
    """Start so many and return them."""
    started = []
    for _ in range(count):
        started.append(str(queue.head(A)))
        queue.start(A)
    return started


def test_a_third_of_what_is_under_way_is_large() -> None:
    """One large and two small in turns, each in the order of the images."""
    assert ["L0", "S0", "S1", "L1", "S2", "S3", "L2"] == start(mixed(9), 7)


def test_what_ends_is_replaced_by_its_like() -> None:
    """The shares are those of what is under way: after the end of a large one comes a large one."""
    queue = mixed(9)
    large, *_ = [queue.start(A) for _ in range(6)]
    large.end()
    assert "L2" == queue.head(A)


def test_where_one_lane_is_empty_the_other_takes_it_all() -> None:
    """Nothing waits for what is not there."""
    queue = mixed(2)
    assert ["L0", "S0", "S1", "L1"] == start(queue, 4)


def test_routes_have_lanes_of_their_own() -> None:
    """What is under way to one registry says nothing of another."""
    queue = mixed(2)
    queue.start(A)
    queue.push(B, 9, "small", 1)
    queue.push(B, 9, "large", LARGE)
    assert ("large", "S0") == (queue.head(B), queue.head(A))


def test_routes_are_compared_by_what_is_next() -> None:
    """A route whose turn it is to start a small one is as urgent as that one is, whatever the large one."""
    queue = mixed(2)
    queue.start(A)
    queue.push(B, 1, "now")
    assert [B, A] == queue.routes()


def test_looking_at_the_head_leaves_it_there() -> None:
    """A head that finds no room waits where it is."""
    queue: ReadyQueue[str] = ReadyQueue()
    queue.push(A, 1, "a")
    assert ("a", 1, None) == (queue.head(A), len(queue), queue.head(B))
