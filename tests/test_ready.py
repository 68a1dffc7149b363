"""The ready queue: priorities within a lane, lanes that do not hold each other up."""

from mmgraph.names import Registry
from mmgraph.ready import Lane, ReadyQueue

A = Lane((Registry("src"),), (Registry("a"),))
B = Lane((Registry("src"),), (Registry("b"),))


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


def test_lanes_are_listed_by_their_most_urgent_item() -> None:
    """The lane with the most urgent head is asked first, and an empty one not at all."""
    queue: ReadyQueue[str] = ReadyQueue()
    queue.push(A, 5, "later")
    queue.push(B, 1, "now")
    assert [B, A] == list(queue.lanes())
    queue.pop(B)
    assert [A] == list(queue.lanes())


def test_looking_at_the_head_leaves_it_there() -> None:
    """A head that finds no room waits where it is."""
    queue: ReadyQueue[str] = ReadyQueue()
    queue.push(A, 1, "a")
    assert ("a", 1, None) == (queue.head(A), len(queue), queue.head(B))
