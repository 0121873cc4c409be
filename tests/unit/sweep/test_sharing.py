"""Parts of a fit give the same results whatever a cluster does with them. The cluster is made of a few functions."""

import os
from types import SimpleNamespace

import pytest

from training_code.foundation import memory
from training_code.foundation.errors import InputError
from training_code.foundation.parts import find_executor
from training_code.sweep import sharing


class RayError(Exception):
    """As Ray has it."""


class Cluster:
    """What is used of Ray; ``answers`` says what becomes of the tasks, again from the first one after the last."""

    def __init__(self, cores, answers=("done",)):
        self.cores, self.answers = cores, answers
        self.tasks, self.away, self.most = 0, {}, 0
        self.exceptions = SimpleNamespace(RayError=RayError)

    def available_resources(self):
        return {"CPU": self.cores} if self.cores else {}  # as Ray says that there is none

    def remote(self, num_cpus, max_retries, scheduling_strategy):
        assert max_retries > 0 and num_cpus == 1
        return lambda function: SimpleNamespace(remote=lambda *arguments: self._send(function, arguments))

    def _send(self, function, arguments):
        self.tasks += 1
        self.away[self.tasks] = function, arguments
        self.most = max(self.most, len(self.away))
        return self.tasks

    def _answer(self, task):
        return self.answers[(task - 1) % len(self.answers)]

    def wait(self, tasks, timeout):
        return [task for task in tasks if self._answer(task) in ("done", "lost") or timeout > 3600], []

    def get(self, task):
        function, arguments = self.away.pop(task)
        if self._answer(task) == "lost":
            raise RayError("the node died")
        return "there", function(*arguments)[1]

    def cancel(self, task):
        self.away.pop(task)


def _doubled(part):
    return "here", 2 * part


def _all(cluster, count):
    executor = sharing.OnCluster(cluster)
    pending = [executor.begin(_doubled, (part,), 1) for part in range(count)]
    results = [each.result() for each in pending]
    assert executor.elsewhere == sum(place == "there" for place, _ in results)
    return results


@pytest.mark.parametrize("cores", [0, 1, 3, 50])
@pytest.mark.parametrize("answers", [("done",), ("lost",), ("never",), ("done", "never", "lost")])
def test_results_are_complete_and_in_order_whatever_becomes_of_the_workers(cores, answers):
    cluster = Cluster(cores, answers)
    assert [value for _, value in _all(cluster, 10)] == [2 * part for part in range(10)]
    assert cluster.most <= cores and not cluster.away and bool(cluster.tasks) == bool(cores)


def test_idle_cores_get_parts_and_what_they_have_no_room_for_is_done_here():
    # Three that do not come back before they are waited for have the cores; the others are done here.
    cluster = Cluster(3, ("never",))
    places = [place for place, _ in _all(cluster, 5)]
    assert cluster.tasks == 3 and places == ["here"] * 5
    assert [place for place, _ in _all(Cluster(3), 5)] == ["there"] * 5
    assert [place for place, _ in _all(Cluster(0), 5)] == ["here"] * 5


@pytest.mark.parametrize(("spare", "sent"), [(0, 0), (2.5, 1), (50, 5)])
def test_a_part_is_sent_where_the_memory_allows_for_another_one_beside_it(spare, sent, monkeypatch):
    held = []  # bytes, in this process
    monkeypatch.setattr(sharing.psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: _used(1000 + sum(held))))
    cluster = Cluster(50, ("never",))
    executor = sharing.OnCluster(cluster)
    with memory.allowing(int(1000 + spare * 100)):
        for part in range(5):
            held.append(100 * isinstance(executor.begin(_doubled, (part,), 100), sharing._Away))
    assert cluster.most == sum(held) // 100 == sent


def _used(size):
    return SimpleNamespace(rss=size)


def test_a_part_that_is_at_fault_says_so():
    def fails(part):
        raise ValueError(f"part {part} is not finite")

    with pytest.raises(ValueError, match="part 7 is not finite"):
        sharing.OnCluster(Cluster(1, ("lost",))).begin(fails, (7,), 1).result()


def test_without_a_sweep_each_part_is_done_when_it_is_begun(monkeypatch):
    for name in sharing.sharing_environment("x"):
        monkeypatch.delenv(name, raising=False)
    done = []
    pending = find_executor().begin(done.append, (1,), 1)
    assert done == [1] and pending.done() and pending.result() is None


def test_a_cluster_that_cannot_be_reached_costs_no_result_and_is_told_once(monkeypatch, capsys):
    def refuse(*_):
        raise InputError("the Ray cluster nowhere:1 cannot be reached")

    monkeypatch.setattr(sharing, "start_ray", refuse)
    for name, value in sharing.sharing_environment("nowhere:1").items():
        monkeypatch.setitem(os.environ, name, value)
    executor = find_executor()
    assert [executor.begin(_doubled, (part,), 1).result() for part in range(3)] == [("here", 2 * n) for n in range(3)]
    executor.close()
    assert capsys.readouterr().out == "this process does all parts: the Ray cluster nowhere:1 cannot be reached\n"
