"""A partial batch waits so long and no longer, by the times of batches and by a timer that no clock moves."""

from streamlearn.service.patience import Patience


class Clocks:
    def __init__(self):
        self.now, self.moment = 1000.0, 5.0
        self.patience = Patience(30.0, lambda: self.now, lambda: self.moment)

    def pass_by(self, seconds):
        self.now, self.moment = self.now + seconds, self.moment + seconds

    def over(self):
        return self.patience.is_over(self.now), self.patience.has_run_out(self.moment)


def test_nothing_that_waits_is_never_too_long():
    clocks = Clocks()
    clocks.pass_by(1e9)
    assert clocks.over() == (False, False)


def test_both_clocks_agree_while_nobody_moves_them():
    clocks = Clocks()
    clocks.patience.begin(clocks.now)
    clocks.pass_by(29.5)
    assert clocks.over() == (False, False)
    clocks.pass_by(0.5)
    assert clocks.over() == (True, True)
    clocks.patience.end()
    assert clocks.over() == (False, False)


def test_a_clock_that_is_set_back_puts_nothing_off():
    clocks = Clocks()
    clocks.patience.begin(clocks.now)
    clocks.now -= 3600
    clocks.pass_by(30)
    assert clocks.over() == (False, True)


def test_what_another_process_waited_counts():
    for since, left in ((980.0, 10.0), (4000.0, 30.0)):  # in the second one its clock was ahead of ours
        clocks = Clocks()
        clocks.patience.resume(since)
        clocks.pass_by(left - 0.5)
        assert not clocks.over()[1]
        clocks.pass_by(0.5)
        assert clocks.over()[1]
    clocks.patience.resume(None)
    assert clocks.over() == (False, False)
