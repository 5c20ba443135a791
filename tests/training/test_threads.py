import time

import pytest
import torch

from difflut.training import threads
from difflut.training.threads import PAUSE, TRIED, WARM_UP, Threads


class Machine:
    """Steps that take as long as the number of threads lets them, by a clock of their own."""

    def __init__(self, monkeypatch, seconds, most=4):
        self.now, self.seconds, self.most, self.used = 100.0, seconds, most, []
        self.present = most
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.present)
        monkeypatch.setattr(torch, "set_num_threads", lambda count: setattr(self, "present", count))

    def steps(self, count):
        for _ in range(count):
            self.now += self.seconds[self.present]
            self.used.append(self.present)
            yield 32


@pytest.fixture
def cpu():
    return torch.device("cpu")


def test_all_threads_are_taken_where_they_are_quicker(monkeypatch, cpu):
    machine = Machine(monkeypatch, {1: 0.1, 4: 0.03})
    chooser = Threads(cpu)
    assert list(chooser.run(machine.steps(50))) == [32] * 50
    assert machine.used == [4] * WARM_UP + [1] * TRIED + [4] * (50 - WARM_UP - TRIED) and chooser.taken == 4


def test_one_is_taken_where_others_keep_the_cores_busy(monkeypatch, cpu):
    machine = Machine(monkeypatch, {1: 0.1, 4: 2.0})
    chooser = Threads(cpu)
    list(chooser.run(machine.steps(50)))
    # A single step tells, where it takes longer than all those with one thread.
    assert machine.used == [4] * WARM_UP + [1] * TRIED + [4] + [1] * (50 - WARM_UP - TRIED - 1) and chooser.taken == 1
    assert machine.present == 4, "the number is the caller's again"


def test_it_is_tried_again_as_others_come_and_go(monkeypatch, cpu):
    machine = Machine(monkeypatch, {1: 0.1, 4: 2.0})
    chooser = Threads(cpu)
    list(chooser.run(machine.steps(20)))
    machine.seconds[4] = 0.03
    list(chooser.run(machine.steps(20)))
    assert chooser.taken == 1
    machine.now += PAUSE
    list(chooser.run(machine.steps(20)))
    assert chooser.taken == 4


def test_epochs_shorter_than_a_trial_come_to_the_same(monkeypatch, cpu):
    machine = Machine(monkeypatch, {1: 0.1, 4: 2.0})
    chooser = Threads(cpu)
    for _ in range(10):
        assert list(chooser.run(machine.steps(2))) == [32, 32]
    assert machine.used[: WARM_UP + TRIED + 2] == [4] * WARM_UP + [1] * TRIED + [4, 1] and chooser.taken == 1


def test_whoever_has_chosen_is_obeyed(monkeypatch, cpu):
    machine = Machine(monkeypatch, {1: 0.1, 4: 2.0})
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    list(Threads(cpu).run(machine.steps(20)))
    assert machine.used == [4] * 20
    assert not Threads(torch.device("cuda")).may_choose


def test_the_number_is_restored_when_a_step_fails(monkeypatch, cpu):
    machine = Machine(monkeypatch, {1: 0.1, 4: 2.0})

    def failing():
        yield from machine.steps(WARM_UP + 1)
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        list(threads.Threads(cpu).run(failing()))
    assert machine.present == 4
