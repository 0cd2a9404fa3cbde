import gzip
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recsdk_vw import VW, Hashing, Numbers, drive, read_dsjson, write_dsjson
from recsdk_vw.rounds import make_log

import recsdk
from recsdk import ope
from recsdk.checks import check_log
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue

CONTEXT = {"User": {"age": "young"}, "_multi": [{"_tag": "tea", "i": {"hot": 1}}, {"_tag": "ice", "i": {"cold": 0.5}}]}
GOOD = {
    "_label_cost": -1,
    "_label_probability": 0.25,
    "_label_Action": 2,
    "_labelIndex": 1,
    "EventId": "e1",
    "a": [2, 1],
    "p": [0.25, 0.75],
    "c": CONTEXT,
}


def written(folder, *events):
    path = folder / "log.dsjson"
    path.write_text("".join((event if isinstance(event, str) else json.dumps(event)) + "\n" for event in events))
    return path


def test_a_line_is_one_decision(tmp_path):
    found = read_dsjson(written(tmp_path, {**GOOD, "pdrop": 0.75}))
    assert found.log.context.mask.tolist() == [[True, True]]
    assert [*found.log.action, *found.log.reward, *found.log.propensity, *found.log.weight] == [1, 1.0, 0.25, 4.0]
    assert (found.names, found.event_id.tolist(), found.position.tolist(), found.line.tolist()) == (("tea", "ice"), ["e1"], [0], [1])
    assert (found.num_skipped, found.num_bad) == (0, 0)


def test_the_joined_log_of_the_reinforcement_learning_client_has_its_known_values(reference):
    path = reference("rl_joiner/average_reward_100_interactions.json")
    expected = json.loads(reference("rl_joiner/expected.json").read_text())
    log = read_dsjson(path).log
    assert len(log.action) == expected["events"] == 100
    assert log.reward.mean() == pytest.approx(expected["mean_reward"], abs=1e-6)  # costs are float32
    for action in (0, 1):
        target = np.eye(2)[np.full(100, action)]
        found = ope.evaluate(log, target, estimators=("ips", "snips"), force=True).estimates
        wanted = expected[f"always_action_{action + 1}"]
        assert (log.action == action).sum() == wanted["matches"]
        assert found["ips"].value == pytest.approx(wanted["ips"], abs=1e-6)
        assert found["snips"].value == pytest.approx(wanted["snips"], abs=1e-6)
    for line, reward in zip(path.read_text().splitlines(), log.reward, strict=True):
        assert reward == pytest.approx(np.mean([one["v"] for one in json.loads(line)["o"]] or [0.0]), abs=1e-6)


def test_a_conditional_bandit_is_a_decision_for_each_slot_over_what_is_left(reference):
    path = reference("rl_joiner/ccb_sum_reward_100_interactions.json")
    found = read_dsjson(path)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert found.position.tolist() == [0, 1] * 100
    assert found.line.tolist() == np.repeat(np.arange(1, 101), 2).tolist()
    sums = [sum(one["v"] for one in outcome["_o"]) for event in events for outcome in event["_outcomes"]]
    np.testing.assert_allclose(found.log.reward, sums, atol=1e-5)
    first = found.log.action[::2]
    assert found.log.context.mask[::2].all()
    assert (found.log.context.mask[1::2].argmax(axis=1) == 1 - first).all()
    assert (found.log.propensity[::2] == 0.5).all()
    assert (found.log.propensity[1::2] == 1.0).all()


def test_in_slates_each_slot_has_its_own_candidates_and_the_page_has_one_reward(reference):
    path = reference("rl_joiner/slates_average_reward_100_interactions.json")
    top, below = read_dsjson(path, position=0), read_dsjson(path, position=1)
    assert top.log.context.mask[0].tolist() == [True, True, False, False, False]
    assert below.log.context.mask[0].tolist() == [False, False, True, True, True]
    assert (top.log.action[0], below.log.action[0]) == (1, 3)  # the second and the first of their slots
    means = [np.mean([one["v"] for one in json.loads(line)["o"]] or [0.0]) for line in path.read_text().splitlines()]
    for found in (top, below):
        np.testing.assert_allclose(found.log.reward, means, atol=1e-6)


def test_the_one_reward_of_a_slate_is_never_copied_to_each_of_its_slots(tmp_path):
    with pytest.raises(InvalidValue, match=r"position must be given for .*log.dsjson, line 2: the slots of a slate share one reward"):
        read_dsjson(written(tmp_path, GOOD, SLATE))
    found = read_dsjson(written(tmp_path, SLATE, SLATE), position=0)
    assert (found.log.reward.tolist(), found.line.tolist(), found.position.tolist()) == ([2.0, 2.0], [1, 2], [0, 0])


def test_one_slot_of_a_conditional_bandit_can_be_read_alone(tmp_path):
    path = written(tmp_path, SLOTS, GOOD)
    below = read_dsjson(path, position=1)
    assert (below.line.tolist(), below.position.tolist(), below.log.action.tolist()) == ([1], [1], [1])
    everything = read_dsjson(path)
    assert (everything.line.tolist(), everything.position.tolist()) == ([1, 1, 2], [0, 1, 0])
    with pytest.raises(EmptyLog, match="at least one decision"):
        read_dsjson(path, position=2)
    with pytest.raises(InvalidValue, match="position must be a whole number >= 0"):
        read_dsjson(path, position=-1)


@pytest.mark.parametrize("reason", ["_skipLearn", "_deferred"])
def test_decisions_that_were_never_shown_are_left_out_and_counted_by_reason(tmp_path, reason):
    found = read_dsjson(written(tmp_path, GOOD, {**GOOD, "_label_cost": 0, reason: True, "DeferredAction": True}))
    assert (found.line.tolist(), found.skipped, found.num_skipped) == ([1], {reason: 1}, 1)
    with pytest.raises(InvalidLog, match=f"line 1: {reason} must be true or false, got 1"):
        read_dsjson(written(tmp_path, {**GOOD, reason: 1}))


def test_lines_that_are_no_decisions_are_counted_and_not_bad(tmp_path):
    alone = {"RewardValue": 1.0, "EventId": "e9", "Observations": [{"v": 1.0, "EventId": "e9", "ActionId": None}]}
    found = read_dsjson(written(tmp_path, GOOD, "[checkpoint] 2018-09-07", alone, GOOD))
    assert (found.line.tolist(), found.num_bad) == ([1, 4], 0)
    assert found.skipped == {"checkpoint": 1, "reward alone": 1}


@pytest.mark.parametrize("probability", [1.0000001, float(np.float32(1) + np.finfo(np.float32).eps)])
def test_rounding_errors_of_probabilities_are_corrected(tmp_path, probability):
    alone = {**GOOD, "_label_probability": probability, "_labelIndex": 0, "_label_Action": 1, "a": [1], "p": [probability]}
    found = read_dsjson(written(tmp_path, {**alone, "c": {"_multi": [{"_tag": "tea"}]}}, {**GOOD, "p": [0.2500004, 0.7500001]}))
    assert found.log.propensity.tolist() == [1.0, 0.25]


def test_a_missing_id_is_missing_and_one_that_is_a_number_is_its_text(tmp_path):
    none = {key: value for key, value in GOOD.items() if key != "EventId"}
    found = read_dsjson(written(tmp_path, {**GOOD, "EventId": None}, none, {**GOOD, "EventId": ""}, {**GOOD, "EventId": 17}))
    assert found.event_id.tolist() == ["", "", "", "17"]
    with pytest.raises(InvalidLog, match=r"line 1: EventId must be text or a number, got \['e1'\]"):
        read_dsjson(written(tmp_path, {**GOOD, "EventId": ["e1"]}))


def test_candidates_are_told_apart_by_their_tags_and_a_missing_tag_is_missing(tmp_path):
    def tagged(*tags):
        return {**GOOD, "c": {"_multi": [{} if tag == "absent" else {"_tag": tag} for tag in tags]}}

    found = read_dsjson(
        written(tmp_path, tagged("tea", "ice"), tagged("ice", "tea"), tagged(None, 7), tagged("absent", ""), tagged(7, "tea"))
    )
    assert found.names == ("tea", "ice", "#0", "7", "#1")
    assert found.log.context.item.tolist() == [[0, 1], [1, 0], [2, 3], [2, 4], [3, 0]]
    with pytest.raises(InvalidLog, match=r"line 1: _tag must be text or a number, got True"):
        read_dsjson(written(tmp_path, tagged(True, "ice")))


def test_two_candidates_with_one_tag_are_one_item_and_counted_or_refused_by_choice(tmp_path):
    path = written(tmp_path, {**GOOD, "c": {"_multi": [{"_tag": "tea"}, {"_tag": "tea"}]}}, GOOD)
    found = read_dsjson(path)
    assert (found.log.context.item.tolist(), found.num_repeated) == ([[0, 0], [0, 1]], 1)
    with pytest.raises(InvalidLog, match="line 1: _tag must be another for each candidate, got 'tea' twice"):
        read_dsjson(path, repeated="refuse")
    found = read_dsjson(path, repeated="refuse", max_bad=1)
    assert (found.line.tolist(), found.num_bad, found.num_repeated) == ([2], 1, 0)
    with pytest.raises(InvalidValue, match="repeated must be one of"):
        read_dsjson(path, repeated="drop")


def test_a_scalar_action_or_probability_of_a_slot_is_a_list_of_one(tmp_path):
    slots = {"_multi": [{}, {}, {}], "_slots": [{"_inc": [1, 2]}, {}]}
    below = {"_label_cost": 4, "_a": [2, 0], "_p": [0.75, 0.25]}
    found = [
        read_dsjson(written(tmp_path, {"c": slots, "_outcomes": [{"_label_cost": 2, "_a": action, "_p": probability}, below]})).log
        for action, probability in ((1, 0.25), ([1], [0.25]))
    ]
    for log in found:
        assert (log.action.tolist(), log.reward.tolist(), log.propensity.tolist()) == ([1, 2], [-2.0, -4.0], [0.25, 0.75])


def test_a_feature_that_is_there_twice_counts_twice_and_an_id_with_one_value_is_no_conflict(tmp_path):
    line = json.dumps({**GOOD, "c": {"_multi": [{"n": {"a": 2, "b": "x"}}, {}]}})
    twice = (
        line.replace('"a": 2', '"a": 2, "a": 3')
        .replace('"b": "x"', '"b": "x", "b": "y"')
        .replace('"EventId"', '"EventId": "e1", "EventId"')
    )
    features = read_dsjson(written(tmp_path, twice), encoding=Hashing(dim=2**16)).log.context.features[0, 0]
    assert sorted(abs(features[features != 0])) == [1.0, 1.0, 5.0]
    with pytest.raises(InvalidLog, match=r"line 1: .*'EventId', with other values"):
        read_dsjson(written(tmp_path, twice.replace('"EventId": "e1"', '"EventId": "e2"', 1)))


def test_a_slots_candidates_may_be_named(tmp_path):
    slots = [{"_inc": [0, 1]}, {"_inc": [1, 2]}]
    outcomes = [{"_label_cost": 1, "_a": [0, 1], "_p": [0.5, 0.5]}, {"_label_cost": -1, "_a": [2, 1], "_p": [0.75, 0.25]}]
    event = {"c": {"_multi": [{"f": 1}, {"f": 2}, {"f": 3}], "_slots": slots}, "_outcomes": outcomes, "pdrop": 0.5}
    found = read_dsjson(written(tmp_path, event))
    assert found.log.context.mask.tolist() == [[True, True, False], [False, True, True]]
    assert found.log.action.tolist() == [0, 2]
    assert found.log.reward.tolist() == [-1.0, 1.0]
    assert found.log.weight.tolist() == [2.0, 2.0]
    assert found.names == ("#0", "#1", "#2")


def test_rows_that_are_not_for_learning_are_skipped_and_counted(tmp_path):
    found = read_dsjson(written(tmp_path, {**GOOD, "_skipLearn": True}, "", GOOD, {**GOOD, "_skipLearn": False}))
    assert (len(found.log.action), found.num_skipped, found.line.tolist()) == (2, 1, [3, 4])


OUTCOME = {"_label_cost": 0, "_a": [0, 1], "_p": [0.5, 0.5]}
BAD = {
    "not JSON": ('{"_label_cost":', "one JSON object"),
    "not an object": ("[1]", "one JSON object"),
    "not UTF-8": ('{"a":"\udcff"}', "one JSON object"),
    "NaN": (json.dumps({**GOOD, "_label_cost": float("nan")}), "NaN is not JSON"),
    "a name twice": ('{"_label_cost":1,"_label_cost":2}', "there twice: '_label_cost'"),
    "too deep": ("[" * 100_000, "one JSON object"),
    "infinite cost": (json.dumps({**GOOD, "_label_cost": "x"}).replace('"x"', "1e999"), "_label_cost must be a finite number, got inf"),
    "no cost": ({key: value for key, value in GOOD.items() if key != "_label_cost"}, "_label_cost must be a finite number, got None"),
    "no label": ({"c": CONTEXT}, "must have a label"),
    "no candidates": ({**GOOD, "c": {"_multi": []}}, "_multi must be a list of objects"),
    "an empty object": ({}, "_multi must be a list of objects, got None"),
    "no candidates at all": ({"EventId": "e1"}, "_multi must be a list of objects, got None"),
    "continuous": ({"_label_ca": {"cost": 1}, "c": {"x": 1}}, "continuous action"),
    "zero propensity": ({**GOOD, "_label_probability": 0}, r"_label_probability must be a finite number in \(0, 1\], got 0"),
    "propensity above 1": ({**GOOD, "_label_probability": 1.5}, "_label_probability"),
    "true as propensity": ({**GOOD, "_label_probability": True}, "_label_probability"),
    "another propensity than p": ({**GOOD, "_label_probability": 0.75}, "candidate 2 must be 0.75, got 0.25"),
    "p too short": ({**GOOD, "p": [1.0]}, "must be those of the candidates"),
    "p not a distribution": ({**GOOD, "p": [0.25, 0.5]}, "sum must be 1 within 2e-06, got 0.75"),
    "a from 0": ({**GOOD, "a": [1, 0]}, r"candidates \[1, 2\]"),
    "a of text": ({**GOOD, "a": ["2", 1]}, "must be those of the candidates"),
    "action out of range": ({**GOOD, "_labelIndex": 2}, "index of one of 2 candidates"),
    "two actions": ({**GOOD, "_labelIndex": 0}, "_label_Action one more, got 0 and 2"),
    "certainly lost": ({**GOOD, "pdrop": 1}, r"pdrop must be a finite number in \[0, 1\), got 1"),
    "fewer outcomes": ({"c": {**CONTEXT, "_slots": [{}, {}]}, "_outcomes": [OUTCOME]}, "one for each of 2 _slots, got 1"),
    "shown twice": ({"c": {**CONTEXT, "_slots": [{}, {}]}, "_outcomes": [OUTCOME, OUTCOME]}, r"candidates \[1\] that are left for slot 1"),
    "no slots": ({"c": CONTEXT, "_outcomes": [OUTCOME]}, "_slots must be a list"),
    "too few probabilities": (
        {"c": {**CONTEXT, "_slots": [{}]}, "_outcomes": [{**OUTCOME, "_p": [0.5]}]},
        "must be those of the candidates",
    ),
    "a list in a list": ({**GOOD, "c": {"_multi": [{"f": [[1]]}, {}]}}, "must have numbers, text or objects"),
}


SLATE = {
    "_label_cost": -2,
    "c": {"_multi": [{"_slot_id": 0}, {"_slot_id": 0, "f": "x"}, {"_slot_id": 1}], "_slots": [{"s": 1}, {}]},
    "_outcomes": [{"_a": [1, 0], "_p": [0.5, 0.5]}, {"_a": [0], "_p": [1]}],
}
SLOTS = {"c": {**CONTEXT, "_slots": [{"_inc": [0, 1]}, {}]}, "_outcomes": [OUTCOME, {**OUTCOME, "_a": [1], "_p": [1.0]}]}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["f", "_inc", "_tag", "_slot_id", "_text"]), inner),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(event=st.sampled_from([GOOD, SLOTS, SLATE]), value=json_values, data=st.data())
def test_whatever_a_line_has_it_is_read_or_refused(event, value, data, tmp_path_factory):
    event = json.loads(json.dumps(event))
    node = event
    while True:
        key = data.draw(st.sampled_from(sorted(node))) if isinstance(node, dict) else data.draw(st.integers(0, len(node) - 1))
        if not isinstance(node[key], (dict, list)) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = value
    path = tmp_path_factory.getbasetemp() / "log.dsjson"
    path.write_text(json.dumps(event) + "\n" + json.dumps(GOOD))
    found = read_dsjson(path, max_bad=1, encoding=Hashing(dim=4), position=0)
    check_log(found.log)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_refused_by_its_number_or_left_out_and_counted(name, tmp_path):
    bad, match = BAD[name]
    path = tmp_path / "log.dsjson"
    lines = [json.dumps(GOOD), bad if isinstance(bad, str) else json.dumps(bad), json.dumps(GOOD)]
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    with pytest.raises(InvalidLog, match=rf"line 2: .*{match}"):
        read_dsjson(path)
    found = read_dsjson(path, max_bad=1)
    assert (found.line.tolist(), found.num_bad) == ([1, 3], 1)


def test_more_bad_lines_than_allowed_are_refused(tmp_path):
    with pytest.raises(InvalidLog, match=r"line 3: .*bad: 2, max_bad is 1"):
        read_dsjson(written(tmp_path, "x", GOOD, "x"), max_bad=1)
    with pytest.raises(InvalidValue, match="max_bad"):
        read_dsjson(written(tmp_path, GOOD), max_bad=-1)


def test_a_log_without_decisions_is_refused(tmp_path):
    with pytest.raises(EmptyLog, match=r"1 lines skipped: 1 _skipLearn, 1 bad"):
        read_dsjson(written(tmp_path, {**GOOD, "_skipLearn": True}, "x"), max_bad=1)


def test_a_log_with_broken_lines_is_read_but_for_them(reference):
    path = reference("vw_tests/train-sets/ccb_data_parse_error.json")
    with pytest.raises(InvalidLog, match="line 57"):
        read_dsjson(path)
    found = read_dsjson(path, max_bad=2)
    assert (len(set(found.line)), found.num_bad) == (68, 2)
    assert drive(f"--ccb_explore_adf --dsjson -d {path}").num_examples == 68


def test_hashed_features_are_the_same_for_good(tmp_path):
    rows = read_dsjson(written(tmp_path, GOOD), encoding=Hashing(dim=8)).log.context.features[0]
    wanted = np.zeros((2, 8))
    for row, keys in enumerate([{"User^age=young": 1, "i^hot": 1}, {"User^age=young": 1, "i^cold": 0.5}]):
        for key, value in keys.items():
            number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
            wanted[row, number % 8] += value if number < 2**63 else -value
    assert rows.tolist() == wanted.tolist()
    assert rows[0].tolist() == [0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def columns_of(tmp_path, candidate, **fields):
    """Returns a candidate's nonzero hashed columns among very many, beside those of a user."""
    event = {**GOOD, "c": {"User": {"age": 2}, "_multi": [candidate, {}]}}
    features = read_dsjson(written(tmp_path, event), encoding=Hashing(dim=2**16, **fields)).log.context.features[0]
    return {int(column): float(abs(value)) for column, value in enumerate(features[0]) if value} | {"shared": np.count_nonzero(features[1])}


@pytest.mark.parametrize(
    ("candidate", "values"),
    [
        ({"i": {"a": 3, "b": True, "c": False, "d": None, "_e": 5}}, [3.0, 1.0]),
        ({"i": {"a": "x", "_text": "two words"}}, [1.0, 1.0, 1.0]),
        ({"i": [0.5, 0, 0.25], "j": ["x", {"y": 2}]}, [0.5, 0.25, 1.0, 2.0]),
        ({"_tag": "x"}, []),
    ],
)
def test_json_has_the_features_that_vowpal_wabbit_finds_in_it(candidate, values, tmp_path):
    found = columns_of(tmp_path, candidate)
    assert found.pop("shared") == 1
    assert sorted(found.values()) == sorted([*values, 2.0])


def test_features_of_two_namespaces_may_be_multiplied(tmp_path):
    found = columns_of(tmp_path, {"i": {"a": 3, "b": 5}}, interactions=("Ui",))
    assert found.pop("shared") == 1
    assert sorted(found.values()) == [2.0, 3.0, 5.0, 6.0, 10.0]
    with pytest.raises(InvalidValue, match=r"Hashing.interactions must be pairs"):
        Hashing(interactions=("user",))


def test_what_is_written_is_read_again_to_the_last_bit(tmp_path):
    log = make_log()._replace(weight=np.random.default_rng(0).choice([1.0, 1.5, 10.0], 80))
    probs = recsdk.replay(recsdk.Uniform(), log, engine="numpy").decision.probs
    write_dsjson(tmp_path / "log.dsjson", log, probs=probs)
    found = read_dsjson(tmp_path / "log.dsjson", encoding=Numbers())
    np.testing.assert_array_equal(found.log.context.features, np.where(log.context.mask[..., None], log.context.features, 0))
    np.testing.assert_array_equal(found.log.context.mask, log.context.mask)
    for name in ("action", "reward", "propensity"):
        np.testing.assert_array_equal(getattr(found.log, name), getattr(log, name))
    np.testing.assert_allclose(found.log.weight, log.weight, rtol=1e-12)
    slots = np.array(found.names).astype(int)[found.log.context.item]
    assert (slots == log.context.item)[log.context.mask].all()


def test_vowpal_wabbit_reads_what_is_written(tmp_path):
    log = make_log()._replace(weight=np.ones(80))
    write_dsjson(tmp_path / "log.dsjson", log)
    report = drive(f"--cb_explore_adf --softmax --lambda 1 --dsjson -d {tmp_path / 'log.dsjson'}")
    assert (report.num_examples, report.messages) == (80, ())
    probs = recsdk.replay(VW(exploration="softmax"), log).decision.probs
    loss = -(log.reward * probs[np.arange(80), log.action] / log.propensity).mean()
    assert report.average_loss == pytest.approx(loss, rel=0.03)  # it sees the candidates in another order, and learns in that


def test_a_tag_names_a_candidate(tmp_path):
    path = tmp_path / "log.dsjson"
    names = [f"item {slot}" for slot in range(6)]
    write_dsjson(path, make_log()._replace(weight=np.ones(80)), names=names)
    assert set(read_dsjson(path, encoding=Numbers()).names) == set(names)


@pytest.mark.parametrize(
    ("change", "probs", "match"),
    [
        (lambda log: log, None, r"weight must be at least 1 .*, got 0.* in row"),
        (lambda log: log._replace(weight=np.ones(20)), np.full((20, 6), 0.5), "probs must be the propensity"),
        (lambda log: log._replace(reward=np.full(20, np.nan)), None, "reward"),
    ],
)
def test_what_decision_service_json_cannot_say_is_not_written(change, probs, match, tmp_path):
    with pytest.raises(InvalidLog, match=match):
        write_dsjson(tmp_path / "log.dsjson", change(make_log(20)), probs=probs)
    assert not list(tmp_path.iterdir())


def test_features_must_be_numbers_where_numbers_are_asked_for(tmp_path):
    with pytest.raises(InvalidLog, match="line 1: a candidate must have a list of numbers under 'f'"):
        read_dsjson(written(tmp_path, GOOD), encoding=Numbers())
    uneven = {**GOOD, "c": {"_multi": [{"f": [1, 2]}, {"f": [1]}]}}
    with pytest.raises(InvalidLog, match="line 1: features must be 1 finite numbers"):
        read_dsjson(written(tmp_path, uneven), encoding=Numbers())


def test_gzipped_files_are_read(tmp_path):
    with gzip.open(tmp_path / "log.dsjson.gz", "wt") as file:
        file.write(json.dumps(GOOD))
    assert read_dsjson(tmp_path / "log.dsjson.gz").log.reward.tolist() == [1.0]
    whole = (tmp_path / "log.dsjson.gz").read_bytes()
    for damaged in (whole[:-20], b"plain"):
        (tmp_path / "log.dsjson.gz").write_bytes(damaged)
        with pytest.raises(InvalidLog, match=r"log.dsjson.gz, line \d: must be gzip that is whole"):
            read_dsjson(tmp_path / "log.dsjson.gz", max_bad=10)
