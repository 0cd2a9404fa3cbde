import resource
import subprocess
import sys

import numpy as np
import pytest
from recsdk_vw import VW, learner
from recsdk_vw.arguments import EXPLORATIONS
from recsdk_vw.rounds import DIM, RNG, ROWS, all_probs, context, equal, fold, interaction, rounds

from recsdk.errors import InvalidValue, LedgerCorrupt, LedgerMismatch


@pytest.mark.parametrize("max_characters", [1500, learner.MAX_CHARACTERS])
@pytest.mark.parametrize(
    ("exploration", "cb_type"),
    [(name, cb_type) for name, exploration in EXPLORATIONS.items() for cb_type in ("mtr", "dr") if cb_type in exploration.cb_types],
)
def test_a_snapshot_in_the_middle_changes_nothing_bit_for_bit(exploration, cb_type, max_characters, monkeypatch):
    monkeypatch.setattr(learner, "MAX_CHARACTERS", max_characters)
    policy = VW(exploration=exploration, cb_type=cb_type, bits=8)
    log = list(rounds(60))
    whole = fold(policy, log)
    part = fold(policy, log[:23])
    all_probs(policy, part)
    data = policy.dumps(part)
    resumed = policy.loads(data)
    assert policy.dumps(resumed) == data
    for state in (fold(policy, log[23:], resumed), fold(policy, log[23:], part)):
        assert equal(all_probs(policy, state), all_probs(policy, whole))


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_the_lines_that_a_state_keeps_stay_short(exploration, monkeypatch):
    monkeypatch.setattr(learner, "MAX_CHARACTERS", 2000)
    policy = VW(exploration=exploration, bits=8)
    sizes = [len(policy.dumps(fold(policy, rounds(count)))) for count in (20, 160)]
    assert sizes[1] < 2 * sizes[0]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-5], lambda data: b"x" + data, lambda data: data[:40] + b"!!!" + data[43:], lambda _: b""]
)
def test_damaged_bytes_are_refused(damage):
    policy = VW(exploration="bag")
    data = policy.dumps(fold(policy, rounds(5)))
    with pytest.raises(LedgerCorrupt, match="must be what recsdk-vw wrote"):
        policy.loads(damage(data))


@pytest.mark.parametrize("other", [VW(exploration="bag", epsilon=0.1), VW(exploration="bag", seed=1), VW(exploration="cover")])
def test_bytes_of_another_configuration_are_refused(other):
    policy = VW(exploration="bag")
    with pytest.raises(LedgerMismatch, match="--bag 5"):
        other.loads(policy.dumps(policy.init(np.zeros(DIM))))


def test_a_closed_state_is_refused_and_closing_again_is_harmless():
    policy = VW(exploration="epsilon")
    state = policy.init(np.zeros(DIM))
    policy.close(state)
    policy.close(state)
    with pytest.raises(InvalidValue, match="closed"):
        policy.probs(state, RNG, context(ROWS))
    with pytest.raises(InvalidValue, match="closed"):
        policy.update(state, interaction(ROWS))


def test_a_state_that_is_still_open_lets_the_interpreter_exit_in_peace():
    code = "from recsdk_vw import VW; state = VW(exploration='epsilon').init([0.0])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  (our own code)
    assert not result.stderr


def peak_memory_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_twenty_thousand_predictions_do_not_grow_the_memory():
    policy = VW(exploration="squarecb")
    state = fold(policy, rounds(100))
    one = context(ROWS)
    for _ in range(1000):
        policy.probs(state, RNG, one)
    before = peak_memory_mib()
    for _ in range(20_000):
        policy.probs(state, RNG, one)
    assert peak_memory_mib() - before < 4


def test_closing_gives_the_memory_back():
    policy = VW(exploration="bag")
    data = policy.dumps(fold(policy, rounds(100)))

    def open_and_close(times):
        for _ in range(times):
            policy.close(policy.loads(data))

    open_and_close(20)
    before = peak_memory_mib()
    open_and_close(100)
    assert peak_memory_mib() - before < 20  # a workspace has 4 MiB of weights
