"""A scoring function that was rewritten between two openings of a folder is noticed."""

import importlib.util
import warnings

import pytest

from recsdk.errors import ChangedSetting
from recsdk.live.functions import digest
from tests.live.shop import small_recommender

FORMER = "def cheap(request, candidates):\n    return 1 / candidates.features['price'].clip(1)\n"
REWRITTEN = FORMER.replace("1 /", "2 /")
LAID_OUT = FORMER.replace("    return", "    # the cheaper the better\n\n    return")


@pytest.fixture
def written(tmp_path):
    def load(source):
        path = tmp_path / f"module_{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.cheap

    return load


def opened(folder, function):
    with small_recommender(folder, scorers=[function]):
        pass


def test_a_function_that_was_rewritten_is_told_once(tmp_path, written):
    folder, former, rewritten = tmp_path / "shop", written(FORMER), written(REWRITTEN)
    opened(folder, former)
    with pytest.warns(ChangedSetting, match=r"The function 'cheap', a scorer, was rewritten") as told:
        opened(folder, rewritten)
    assert len(told) == 1
    opened(folder, rewritten)


def test_comments_layout_and_another_place_change_nothing(tmp_path, written):
    opened(tmp_path / "shop", written(FORMER))
    opened(tmp_path / "shop", written(LAID_OUT))


def test_a_function_without_a_source_is_never_called_rewritten(tmp_path, written):
    made = {}
    exec(FORMER, made)  # noqa: S102  # as in a console
    opened(tmp_path / "shop", written(FORMER))
    opened(tmp_path / "shop", made["cheap"])
    assert digest(made["cheap"]) == ""
    with pytest.warns(ChangedSetting):  # known since the first opening
        opened(tmp_path / "shop", written(REWRITTEN))


def test_a_function_that_was_away_is_compared_with_what_it_was(tmp_path, written):
    opened(tmp_path / "shop", written(FORMER))
    with small_recommender(tmp_path / "shop", scorers=[]):
        pass
    with pytest.warns(ChangedSetting):
        opened(tmp_path / "shop", written(REWRITTEN))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(tmp_path / "shop", written(REWRITTEN))
