import json

import pytest
from recsdk_vw.encoding import flat
from vowpalwabbit import Workspace


@pytest.fixture(scope="module")
def parsed():
    """A function that returns the features which Vowpal Wabbit finds in a candidate, by index, or None where it drops the line."""
    workspace = Workspace(arg_list=["--cb_explore_adf", "--dsjson", "--noconstant"], enable_logging=True)

    def features(candidate):
        label = {"_label_cost": -1, "_label_probability": 0.5, "_label_Action": 1, "_labelIndex": 0, "a": [1, 2]}
        examples = workspace.parse(json.dumps({**label, "c": {"_multi": [candidate, {}]}}))
        found = dict(examples[1].iter_features()) if len(examples) == 3 else None  # the first has what is shared
        workspace.finish_example(examples)
        return found

    yield features
    workspace.finish()


LISTS = [[1, 2], [1, 0, 3], [1, None, 3], [{"x": 1}, 5, {"y": 2}, 6], [{"x": 1}, None, 0, 7], []]


@pytest.mark.parametrize("values", LISTS)
def test_a_list_has_the_features_that_vowpal_wabbit_finds_in_it(values, parsed):
    (start,) = parsed({"f": [1]})  # where it puts the first number of a list
    numbers = {int(name): value for _, name, value in flat({"f": values}) if name.isdigit() and value}
    others = sorted(value for _, name, value in flat({"f": values}) if not name.isdigit())
    found = parsed({"f": values})
    assert {index - start: value for index, value in found.items() if 0 <= index - start < 10} == numbers
    assert sorted(value for index, value in found.items() if not 0 <= index - start < 10) == others


@pytest.mark.parametrize("values", [["red", "new"], ["red", 1], [True]])
def test_vowpal_wabbit_drops_a_line_with_text_or_booleans_in_a_list_and_hashing_does_not(values, parsed):
    assert parsed({"f": values}) is None
    assert [value for _, _, value in flat({"f": values})] == [1.0] * len(values)


def test_vowpal_wabbit_takes_key_and_text_for_one_word_and_hashing_does_not(parsed):
    assert parsed({"f": {"a": "bc"}}) == parsed({"f": {"ab": "c"}})
    assert list(flat({"f": {"a": "bc"}})) != list(flat({"f": {"ab": "c"}}))
