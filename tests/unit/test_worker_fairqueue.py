"""Whose turn it is."""

from __future__ import annotations

import threading

from ocrwatch.worker.fairqueue import FairQueue


def _drain(queue: FairQueue[str]) -> list[str]:
    items = []
    while (item := queue.take(0)) is not None:
        items.append(item)
    return items


def test_inboxes_take_turns() -> None:
    """A burst in one inbox does not hold up a single letter in another."""
    queue: FairQueue[str] = FairQueue()
    for n in range(4):
        queue.put("burst", n, f"b{n}")
    queue.put("quiet", 9, "letter")
    assert _drain(queue) == ["b0", "letter", "b1", "b2", "b3"]


def test_letter_overtakes_the_rest_of_a_book() -> None:
    """The job that was served least comes first, also when it came last."""
    queue: FairQueue[str] = FairQueue()
    for n in range(5):
        queue.put("in", 1, f"book{n}")
    assert [queue.take(0), queue.take(0)] == ["book0", "book1"]
    queue.put("in", 2, "letter")
    assert _drain(queue) == ["letter", "book2", "book3", "book4"]


def test_pages_of_a_job_keep_their_order_and_their_place_when_put_back_one_by_one() -> None:
    """A job whose pages come one after another is still known as served."""
    queue: FairQueue[str] = FairQueue()
    queue.put("in", 1, "a1")
    queue.put("in", 2, "b1")
    assert queue.take(0) == "a1"
    queue.put("in", 1, "a2")
    assert _drain(queue) == ["b1", "a2"]


def test_forgotten_job_leaves_nothing() -> None:
    """What waits of an abandoned job is handed back and never taken."""
    queue: FairQueue[str] = FairQueue()
    queue.put("in", 1, "a")
    queue.put("in", 2, "b")
    assert queue.forget("in", 1) == ["a"]
    assert _drain(queue) == ["b"]
    assert queue.forget("in", 1) == []
    assert len(queue) == 0


def test_close_wakes_who_waits_and_hands_back_the_rest() -> None:
    """No thread is left waiting at shutdown."""
    queue: FairQueue[str] = FairQueue()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    assert queue.close() == []
    thread.join(timeout=5)
    assert taken == [None]


def test_nudge_lets_a_taker_go_once() -> None:
    """Something else is to be done; the next take waits for items again."""
    queue: FairQueue[str] = FairQueue()
    queue.nudge()
    assert queue.take() is None
    queue.put("in", 1, "a")
    assert queue.take() == "a"
