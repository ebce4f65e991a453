import json
import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import machine, options
from benchmarks.__main__ import Results
from benchmarks.cases import SIX, STREAMING, Case
from benchmarks.peers import KERAS_BACKENDS, Computation, fastest
from benchmarks.process import PeerError, PeerProcess, Worker
from benchmarks.runner import (
    Effort,
    add_section,
    prepare,
    run_case,
    running_peers,
    select,
    time_in_turns,
)

SMALL = Case("test", 3, 5, 2, 4)
BOTH = ["pylstm_arrays", "pylstm_layer"]


@pytest.fixture(scope="module")
def peers():
    with running_peers(BOTH) as (running, absent):
        assert absent == {}
        yield running


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_peers_are_checked_and_timed(peers, mode):
    record = run_case(SMALL, mode, peers, Effort(rounds=2, calls=2, turn=0.01, seconds=0))
    for name in BOTH:
        result = record["peers"][name]
        assert 0 <= result["error"] < 1e-5
        assert 0 < result["q1"] <= result["median"] <= result["q3"]
        assert result["calls"] >= 4
    assert record["rates"]["fma"] > 0
    assert record["rates"]["fma_in_turns"] > 0


def test_turns_go_round_in_changing_order():
    turns = []

    class Peer:
        def __init__(self, name, takes):
            self.name, self.takes = name, takes

        def take_turn(self, seconds, calls):
            turns.append(self.name)
            time.sleep(self.takes)
            return [seconds] * calls

    peers = {"a": Peer("a", 0.001), "b": Peer("b", 0.001)}
    samples, failures = time_in_turns(peers, Effort(rounds=12, calls=1, turn=0.5, seconds=0.05))
    rounds = list(zip(turns[::2], turns[1::2], strict=True))
    assert len(samples["a"]) == len(samples["b"]) == len(rounds) > 12
    assert set(rounds) == {("a", "b"), ("b", "a")}
    assert failures == {}
    slow = {"a": Peer("a", 0.2)}
    effort = Effort(rounds=2, calls=3, turn=0.5, seconds=0.05)
    assert time_in_turns(slow, effort) == ({"a": [0.5] * 6}, {})


@pytest.mark.parametrize("cold", [0.0, 0.5])
def test_the_first_call_of_a_turn_does_not_count(cold):
    durations = [cold, 0.0, 0.0, 0.0]
    worker = Worker(None)
    worker.computation = Computation(lambda: time.sleep(durations.pop(0)), None)
    samples = worker.take_turn(seconds=0.0, calls=3)
    assert durations == []
    assert len(samples) == 3
    assert max(samples) < 0.5


def test_the_faster_way_is_taken():
    slow, fast = (Computation(lambda s=s: time.sleep(s), None) for s in (0.02, 0.0))
    assert fastest([slow, fast]) is fast
    assert fastest([fast, slow]) is fast


def test_a_first_layer_is_timed(peers):
    case = Case("test", 3, 5, 2, 4, modes=("training",), first_layer=True)
    outcomes = prepare(case, "training", peers)
    assert all(0 <= outcome["error"] < 1e-5 for outcome in outcomes.values())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_is_right_where_rows_are_padded(bidirectional):
    case = Case("test", 3, 5, 2, 4, padding="right", bidirectional=bidirectional)
    with running_peers(["torch_lstm"]) as (running, absent):
        if absent:
            assert "ModuleNotFoundError" in absent["torch_lstm"]
            pytest.skip("torch is not installed")
        for mode in case.modes:
            assert 0 <= prepare(case, mode, running)["torch_lstm"]["error"] < 1e-5


@pytest.mark.parametrize("backend", ["JAX", "torch"])
def test_layers_on_other_backends(backend):
    names = KERAS_BACKENDS[backend]
    with running_peers(names) as (running, absent):
        if absent:
            assert "ModuleNotFoundError" in absent[names[0]]
            pytest.skip(f"{backend} is not installed")
        for mode in ("inference", "training"):
            for outcome in prepare(SMALL, mode, running).values():
                assert 0 <= outcome["error"] < 1e-5


def test_peers_are_stopped_between_their_turns(peers):
    deadline = time.monotonic() + 10
    while any(_state(peer) != "T" for peer in peers.values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _state(peer):
    return Path(f"/proc/{peer.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_refusal_is_recorded(peers):
    record = run_case(
        Case("test", 3, 5, 2, 4, bidirectional=True), "inference", peers, Effort(1, 1, 0.01, 0)
    )
    assert record["peers"]["pylstm_arrays"] == {"refused": "one direction a call"}
    assert "median" in record["peers"]["pylstm_layer"]


def test_an_option_is_timed_against_its_default(peers):
    with running_peers(BOTH) as (others, _):
        case = Case("test", 3, 5, 2, 4, activation="relu", bidirectional=True)
        assert case.without_options() == SMALL
        record = options.measure(case, "training", peers, others, Effort(2, 1, 0.01, 0))
    assert record["over_default"].keys() == {"pylstm_layer"}  # NumPy has one direction a call
    assert record["over_default"]["pylstm_layer"] > 0


def test_a_wrong_result_gets_no_time(peers, monkeypatch):
    monkeypatch.setattr("benchmarks.runner.reference_results", _wrong_results)
    record = run_case(SMALL, "inference", peers, Effort(1, 1, 0.01, 0))
    for name in BOTH:
        assert "allowed 1e-04" in record["peers"][name]["failed"]
        assert "median" not in record["peers"][name]


def _wrong_results(problem, mode):
    from benchmarks.problem import reference_results

    return {"y": reference_results(problem, mode)["y"] * 1.001}


def test_a_peer_that_is_not_there_is_told_apart():
    with running_peers(["no_such_peer"]) as (running, absent):
        assert running == {}
        assert "no_such_peer" in absent["no_such_peer"]


def test_a_peer_that_dies_is_an_error():
    with closing(PeerProcess("pylstm_arrays")) as peer:
        os.kill(peer.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(PeerError, match="ended with code -9"):
                peer.refusal(SMALL, "inference")


class Dying(PeerProcess):
    """A peer whose process ends in its first turn."""

    def take_turn(self, seconds, calls):
        os.kill(self.pid, signal.SIGKILL)
        return super().take_turn(seconds, calls)


def test_a_peer_that_dies_in_its_turn_costs_only_itself(peers):
    with closing(Dying("pylstm_arrays")) as dying:
        two = {"pylstm_arrays": dying, "pylstm_layer": peers["pylstm_layer"]}
        for mode in SMALL.modes:  # in the second it is dead from the start
            record = run_case(SMALL, mode, two, Effort(2, 1, 0.01, 0))
            ended = {"failed": "the process ended with code -9"}
            assert record["peers"]["pylstm_arrays"] == ended
            assert record["peers"]["pylstm_layer"]["calls"] >= 2
            assert record["rates"]["fma_in_turns"] > 0


def test_an_option_has_no_ratio_where_a_process_ended(peers):
    case = Case("test", 3, 5, 2, 4, activation="relu")
    with closing(Dying("pylstm_arrays")) as dying:
        others = {"pylstm_arrays": dying}
        with pytest.raises(PeerError, match="pylstm_arrays, B3 T5 F2 H4 inference: the process"):
            options.measure(case, "inference", peers, others, Effort(2, 1, 0.01, 0))


def test_every_word_of_the_filter_counts():
    chosen = list(select([*SIX, *STREAMING], "H64 training"))
    assert chosen == [(SIX[0], "training")]
    (single,) = (case for case in SIX if case.batch == 1)
    assert list(select(SIX, "B1 inference")) == [(single, "inference")]  # not B16
    streaming = [(case, mode) for case in STREAMING for mode in case.modes]
    assert list(select([*SIX, *STREAMING], "streaming")) == streaming


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.json"
    environment = {**machine.describe(), "commit": "0", "versions": {}}
    path.write_text(json.dumps({"environment": environment, "records": []}))
    return path


def test_results_of_another_commit_are_kept(results, capsys):
    before = results.read_text()
    mine = {**machine.describe(), "versions": {}}
    record = {"name": SIX[0].name, "mode": "training"}
    Results(results, mine).add(record)
    assert json.loads(results.read_text()) == {"environment": mine, "records": [record]}
    (kept,) = {*results.parent.iterdir()} - {results}
    assert kept.read_text() == before
    assert str(kept) in capsys.readouterr().out


def test_a_section_is_added_with_its_own_commit(results):
    add_section(results, "options", lambda: [{"name": "relu"}])
    content = json.loads(results.read_text())
    commit = machine.describe()["commit"]
    assert content["options"] == {"commit": commit, "records": [{"name": "relu"}]}
    assert content["environment"]["commit"] == "0"


@pytest.mark.parametrize("key", ["processor", "cores", "system", "python", "numpy"])
def test_no_section_is_added_to_results_of_another_machine(key, results, monkeypatch):
    before = results.read_text()
    here = {**machine.describe(), key: "B"}
    monkeypatch.setattr(machine, "describe", lambda: here)
    with pytest.raises(SystemExit, match=rf"of another machine(.|\n)* {key}: .* there, B here"):
        add_section(results, "options", lambda: pytest.fail("it was measured"))
    assert results.read_text() == before
