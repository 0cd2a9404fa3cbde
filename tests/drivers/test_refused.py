"""Bad arguments of the drivers: each is refused by a typed error that names it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recsdk import Context, InProcess, Interaction, LinUCB, Processes, Uniform, decide, replay, simulate, simulate_slates, sweep
from recsdk.environments import LinearWorld, PositionBias
from recsdk.errors import InvalidLog, InvalidProbs, InvalidValue

WORLD = LinearWorld(num_candidates=3, dim=2)
LOG = simulate(Uniform(), WORLD, 10, engine="numpy").log


@pytest.mark.parametrize("prior", [np.zeros(3), [0.0], 1.0, [np.nan, 0.0], ["a", "b"], np.zeros((1, 2)), [None, 1.0]], ids=repr)
@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_a_prior_of_another_length_or_kind_is_refused(prior, engine):
    for run in (
        lambda: replay(LinUCB(), LOG, prior=prior, engine=engine),
        lambda: simulate(LinUCB(), WORLD, 3, prior=prior, engine=engine),
        lambda: simulate_slates(LinUCB(), WORLD, 3, size=1, attention=PositionBias(), prior=prior, engine=engine),
        lambda: sweep([LinUCB()], LOG, prior=prior, engine=engine),
    ):
        with pytest.raises(InvalidValue, match="prior"):
            run()


@pytest.mark.parametrize("seed", [-1, 1.5, None, "a", True])
def test_a_seed_that_is_not_a_whole_number_is_refused(seed):
    for run in (
        lambda: replay(LinUCB(), LOG, seed=seed),
        lambda: simulate(LinUCB(), WORLD, 3, seed=seed),
        lambda: sweep([LinUCB()], LOG, seeds=[seed]),
    ):
        with pytest.raises(InvalidValue, match="seed must be a whole number >= 0"):
            run()


@pytest.mark.parametrize("policy", [None, LinUCB, "lin-ucb", 3])
def test_what_is_not_a_policy_is_refused(policy):
    for run in (lambda: replay(policy, LOG), lambda: simulate(policy, WORLD, 3), lambda: sweep([policy], LOG)):
        with pytest.raises(InvalidValue, match=r"policy must be a policy, such as recsdk.LinUCB"):
            run()


def test_what_is_not_a_log_or_a_world_is_refused():
    for log in (None, [LOG], {"reward": 1}, LOG._replace(context=None)):
        with pytest.raises(InvalidLog, match=r"log must be a recsdk.Interaction with a leading T"):
            replay(LinUCB(), log)
    for world in (None, LinearWorld, LOG, 5):
        with pytest.raises(InvalidValue, match="environment must be a world"):
            simulate(LinUCB(), world, 3)
    with pytest.raises(InvalidValue, match="log_or_environment must be a log"):
        sweep([LinUCB()], [LOG])


def test_a_sweep_takes_iterators_and_refuses_what_it_cannot_go_through():
    table = sweep(iter([LinUCB(), Uniform()]), LOG, seeds=iter([0, 1]), engine="numpy", num_processes=1)
    assert len(table.seed) == 4
    for policies, options in ((LinUCB(), {}), ([LinUCB()], {"seeds": 3}), ([[]], {})):
        with pytest.raises(InvalidValue, match="must be a sequence of plain configurations or numbers"):
            sweep(policies, LOG, **options)


class Threads:
    """An executor of one's own."""

    def map(self, function, shared, pieces):
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(lambda piece: function(shared, piece), pieces)


def test_any_executor_gives_what_this_process_gives():
    policies = [LinUCB(), LinUCB(alpha=0.1), Uniform()]
    here, threads, processes = (
        sweep(policies, LOG, seeds=(0, 1), engine="numpy", executor=executor)
        for executor in (InProcess(), Threads(), Processes(num_processes=2))
    )
    for one, two, three in zip(here[1:], threads[1:], processes[1:], strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_an_executor_is_asked_for_its_method_and_has_its_own_processes():
    with pytest.raises(InvalidValue, match="executor must have a method map"):
        sweep([LinUCB()], LOG, engine="numpy", executor=3)
    with pytest.raises(InvalidValue, match="num_processes must be None beside an executor"):
        sweep([LinUCB()], LOG, engine="numpy", executor=InProcess(), num_processes=2)
    with pytest.raises(InvalidValue, match=r"Processes.num_processes must be a whole number >= 1"):
        Processes(num_processes=0)


class Answers:
    runs_on, learns_from = ("numpy",), "chosen"

    def __init__(self, answer):
        self.answer = answer

    def probs(self, state, rng, context):
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [[0.5, 0.5], None, (p for p in (0.5, 0.5)), 1.0, "half", np.array(1.0), np.ones((2, 1)) / 2, np.array([1, 0]), np.array([]),
     np.array([0.5, None]), np.array([0.5, 0.5j]), np.array(["a", "b"]), np.array([0.5, 0.5], np.float32), np.ma.array([np.nan, 1.0])],
    ids=lambda answer: type(answer).__name__,
)  # fmt: skip
def test_an_answer_that_is_not_a_distribution_is_refused_by_its_type(answer):
    context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
    with pytest.raises(InvalidProbs, match="probs must be"):
        decide(Answers(answer), (), np.random.default_rng(0), context)


def test_the_rows_that_are_refused_are_named():
    with pytest.raises(InvalidLog, match="row 4"):
        replay(LinUCB(), Interaction(*LOG[:2], np.where(np.arange(10) == 4, np.inf, LOG.reward), *LOG[3:]))
