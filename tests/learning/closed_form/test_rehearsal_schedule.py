"""Rehearsal costs time where it gains, and nearly none where it does not."""

from streamlearn.learning.closed_form.rehearsal_schedule import CONTENT, MEMORY, TRIAL, RehearsalSchedule


def feed(rehearsal, batches, alone, together=None):
    for _ in range(batches):
        rehearsal.update(alone, together, [True] * len(alone))


def test_rehearsal_costs_nothing_where_the_closed_form_errs_little():
    rehearsal = RehearsalSchedule()
    feed(rehearsal, 100, [True] * 19 + [False])
    assert 1 - rehearsal.errors / rehearsal.weight > 1 - CONTENT
    assert rehearsal.duty == 0
    assert not any(rehearsal.next() for _ in range(100))


def test_rehearsal_is_tried_and_kept_where_it_gains_and_nearly_dropped_where_not():
    tried, kept, dropped = RehearsalSchedule(), RehearsalSchedule(), RehearsalSchedule()
    wrong = [True, False] * 8
    feed(tried, MEMORY, wrong)
    feed(kept, TRIAL + MEMORY, wrong, [True] * 16)
    feed(dropped, TRIAL + MEMORY, wrong, wrong)
    assert tried.duty == kept.duty == 1
    assert 0 < dropped.duty <= 1 / 16
    assert sum(dropped.next() for _ in range(160)) == 10


def test_errors_on_new_classes_call_for_nothing():
    rehearsal = RehearsalSchedule()
    for _ in range(100):
        rehearsal.update([False] * 16, None, [False] * 16)
    assert rehearsal.duty == 0
