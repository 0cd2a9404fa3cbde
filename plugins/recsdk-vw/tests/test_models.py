import hashlib

import attrs
import numpy as np
import pytest
from recsdk_vw import VW, learner, save_model
from recsdk_vw.arguments import EXPLORATIONS
from recsdk_vw.rounds import DIM, RNG, all_probs, equal, fold, rounds
from vowpalwabbit import Workspace

from recsdk.errors import InvalidValue, LedgerMismatch


def text(features, label=None):
    """Returns a round as Vowpal Wabbit's text; `label` is the action, its cost and its probability."""
    lines = ["|f " + " ".join(f"{column}:{value:.9g}" for column, value in enumerate(row)) for row in features]
    if label:
        lines[label[0]] = f"0:{label[1]:.9g}:{label[2]:.9g} {lines[label[0]]}"
    return "\n".join(lines)


def plain_model(path, options, num_rounds=80):
    """Saves what plain Vowpal Wabbit learns from text, and returns what it answers."""
    workspace = Workspace(f"--cb_explore_adf --quiet {options}")
    for one in rounds(num_rounds):
        workspace.learn(text(one.context.features, (int(one.action), -float(one.reward), float(one.propensity))))
    workspace.save(path)
    answers = [np.array(workspace.predict(text(one.context.features))) for one in rounds(20, 100)]
    workspace.finish()
    return answers


def begun(path, **fields):
    policy = VW(initial_regressor=str(path), **fields)
    return policy, policy.init(np.zeros(DIM))


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("--softmax --lambda 2", {"exploration": "softmax", "inverse_temperature": 2.0}),
        ("--epsilon 0.05 --cb_type dr", {"exploration": "epsilon", "cb_type": "dr"}),
        ("--bag 3 --random_seed 7", {"exploration": "bag", "num_models": 3}),
        ("--softmax --coin -q ff -b 12", {"exploration": "softmax", "options": "--coin -q ff", "bits": 12}),
        ("--softmax --interactions ff", {"exploration": "softmax", "interactions": ("ff",)}),
    ],
)
def test_a_policy_begins_where_plain_vowpal_wabbit_stopped(options, fields, tmp_path):
    answers = plain_model(tmp_path / "model", options)
    policy, state = begun(tmp_path / "model", **fields)
    for ours, theirs in zip(all_probs(policy, state), answers, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_plain_vowpal_wabbit_goes_on_from_what_a_policy_has_learned(tmp_path):
    policy = VW(exploration="softmax", inverse_temperature=2.0)
    state = fold(policy, rounds(80))
    save_model(state, tmp_path / "model")
    workspace = Workspace(f"--quiet -i {tmp_path / 'model'}")
    for one, probs in zip(rounds(20, 100), all_probs(policy, state), strict=True):
        np.testing.assert_allclose(workspace.predict(text(one.context.features)), probs, atol=2e-6)
    workspace.finish()


@pytest.mark.parametrize("exploration", EXPLORATIONS)
def test_what_was_saved_predicts_as_what_was_learned(exploration, tmp_path):
    policy = VW(exploration=exploration)
    state = fold(policy, rounds(80))
    save_model(state, tmp_path / "model")
    warm, again = begun(tmp_path / "model", exploration=exploration)
    assert equal(all_probs(warm, again), all_probs(policy, state))


@pytest.mark.parametrize("exploration", EXPLORATIONS)
@pytest.mark.parametrize("max_characters", [1500, learner.MAX_CHARACTERS])
def test_a_snapshot_after_a_warm_start_changes_nothing_bit_for_bit(exploration, max_characters, tmp_path, monkeypatch):
    monkeypatch.setattr(learner, "MAX_CHARACTERS", max_characters)
    save_model(fold(VW(exploration=exploration, bits=8), rounds(30)), tmp_path / "model")
    policy, state = begun(tmp_path / "model", exploration=exploration, bits=8)
    log = list(rounds(40, seed=3))
    part = fold(policy, log[:23], state)
    resumed = fold(policy, log[23:], policy.loads(policy.dumps(part)))
    assert equal(all_probs(policy, resumed), all_probs(policy, fold(policy, log[23:], part)))


def test_the_policy_is_known_by_the_models_content_and_not_by_its_place(tmp_path):
    states = [fold(VW(exploration="squarecb"), rounds(count)) for count in (30, 30, 31)]
    paths = [tmp_path / name for name in ("one", "copy", "other")]
    for state, path in zip(states, paths, strict=True):
        save_model(state, path)
    one, copy, other = (VW(exploration="squarecb", initial_regressor=path) for path in paths)
    assert one == copy
    assert hash(one) == hash(copy)
    assert repr(one) == repr(copy)
    assert hashlib.sha256(paths[0].read_bytes()).hexdigest() in repr(one)
    assert one not in (other, VW(exploration="squarecb"))
    assert attrs.evolve(one, epsilon=0.1).initial_sha256 == one.initial_sha256
    with pytest.raises(LedgerMismatch, match=f"from the model {one.initial_sha256}"):
        other.loads(one.dumps(one.init(np.zeros(DIM))))
    assert equal(all_probs(copy, copy.loads(one.dumps(one.init(np.zeros(DIM))))), all_probs(one, one.init(np.zeros(DIM))))


def test_a_model_whose_content_has_changed_is_refused(tmp_path):
    path = tmp_path / "model"
    state = fold(VW(exploration="squarecb"), rounds(30))
    save_model(state, path)
    policy = VW(exploration="squarecb", initial_regressor=path)
    path.write_bytes(path.read_bytes()[:-20])  # Vowpal Wabbit itself would load it
    with pytest.raises(InvalidValue, match=r"must be the file with VW.initial_sha256"):
        policy.init(np.zeros(DIM))
    for wanted in (policy.initial_sha256, ""):
        with pytest.raises(InvalidValue, match=r"must be the file with VW.initial_sha256"):
            VW(exploration="squarecb", initial_regressor=path, initial_sha256=wanted)
    with pytest.raises(InvalidValue, match="must be a model file, got ''"):
        VW(exploration="squarecb", initial_sha256=policy.initial_sha256)


@pytest.mark.parametrize(
    ("options", "fields", "match"),
    [
        ("--softmax --coin", {"exploration": "softmax"}, r"brings \['coin'\] and lacks \[\]"),
        ("--softmax --power_t 0.3 -q ff", {"exploration": "softmax"}, r"brings \['power_t 0.3.*', 'quadratic ff'\]"),
        ("--softmax --noconstant", {"exploration": "softmax", "options": "--l2 1e-6"}, "brings .*noconstant"),
        ("--bag 3", {"exploration": "bag", "num_models": 4}, "bag"),
        ("--softmax -b 12", {"exploration": "softmax"}, "bit_precision"),
        ("--squarecb", {"exploration": "softmax"}, "VW.initial_regressor must be a model of"),
        ("--softmax", {"exploration": "softmax", "seed": 1}, "VW.seed must be 0"),
    ],
)
def test_a_model_learned_otherwise_than_the_policy_says_is_refused(options, fields, match, tmp_path):
    plain_model(tmp_path / "model", options, num_rounds=3)
    with pytest.raises(InvalidValue, match=match):
        VW(initial_regressor=tmp_path / "model", **fields)


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_a_file_that_is_not_a_model_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "model").write_bytes(content)
    with pytest.raises(InvalidValue, match=r"VW.initial_regressor must be a model"):
        VW(exploration="epsilon", initial_regressor=tmp_path / "model")


@pytest.mark.parametrize("exploration", ["epsilon", "softmax", "squarecb", "regcb", "first"])
def test_a_state_of_one_regressor_learns_on_from_its_saved_model_as_it_would_have(exploration, tmp_path):
    fields = {"exploration": exploration, **({"num_rounds": 50} if exploration == "first" else {})}
    policy = VW(**fields)
    state = fold(policy, rounds(40))
    save_model(state, tmp_path / "model")
    warm, again = begun(tmp_path / "model", **fields)
    assert equal(all_probs(warm, fold(warm, rounds(20, seed=5), again)), all_probs(policy, fold(policy, rounds(20, seed=5), state)))


def test_without_a_model_a_policy_begins_with_nothing_learned():
    policy = VW(exploration="softmax")
    assert policy.initial_sha256 == ""
    for one in rounds(3):
        np.testing.assert_allclose(policy.probs(policy.init(np.zeros(DIM)), RNG, one.context), 1 / len(one.context.mask), atol=1e-6)
