import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks import options
from benchmarks.cases import SIX, STREAMING, Case
from benchmarks.peers import KERAS_BACKENDS, Computation, fastest
from benchmarks.process import PeerError, PeerProcess, Worker
from benchmarks.runner import Effort, prepare, run_case, running_peers, select, time_in_turns

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
    samples = time_in_turns(peers, Effort(rounds=12, calls=1, turn=0.5, seconds=0.05))
    rounds = list(zip(turns[::2], turns[1::2], strict=True))
    assert len(samples["a"]) == len(samples["b"]) == len(rounds) > 12
    assert set(rounds) == {("a", "b"), ("b", "a")}
    slow = {"a": Peer("a", 0.2)}
    effort = Effort(rounds=2, calls=3, turn=0.5, seconds=0.05)
    assert time_in_turns(slow, effort) == {"a": [0.5] * 6}


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
    peer = PeerProcess("pylstm_arrays")
    os.kill(peer.pid, signal.SIGKILL)
    with pytest.raises(PeerError, match="ended with code -9"):
        peer.refusal(SMALL, "inference")
    peer.close()


def test_every_word_of_the_filter_counts():
    chosen = list(select([*SIX, *STREAMING], "H64 training"))
    assert chosen == [(SIX[0], "training")]
    assert all(case in STREAMING for case, _ in select([*SIX, *STREAMING], "streaming"))
