"""SASRec and GRU share their settings, and are known by folders as they were when each had its own."""

import json

import attrs
import pytest

from recsdk.encoders.gru import GRU
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.settings import SequenceSettings
from recsdk.errors import InvalidValue
from recsdk.live.identity import differences, identity

SHARED = (
    "dim=64, {own}max_length=50, {activation}output='tied', similarity='dot', temperature=1.0, loss='softmax', num_negatives=1024, "
    "dropout=0.2, epochs=100, batch_size=128, learning_rate=0.001, warmup_steps=100, weight_decay=0.01, clip_norm=1.0, patience=5, "
    "num_validation=2048, max_windows=1, precision='auto', user='user_id', history='history'"
)
FORMER = {
    SASRec: "SASRec(" + SHARED.format(own="num_layers=2, num_heads=2, ", activation="activation='swiglu', ") + ")",
    GRU: "GRU(" + SHARED.format(own="num_layers=1, ", activation="") + ")",
}
"""What each printed, and what folders may have stored, before the settings were one record."""
LATER = {"accumulate", "item_features", "text_features", "id_dropout", "admit", "expire"}
"""Settings that have come since."""


@pytest.mark.parametrize("encoder", FORMER)
def test_a_folder_made_before_knows_it(encoder):
    assert differences(FORMER[encoder], encoder()) == []
    assert differences(FORMER[encoder], encoder(epochs=5)) == ["epochs was 100, is 5"]
    written = FORMER[encoder].partition("(")[2]
    assert set(identity(encoder())["settings"]) - LATER == {part.partition("=")[0] for part in written.split(", ")}
    assert differences(json.loads(json.dumps(identity(encoder()))), encoder()) == []


@pytest.mark.parametrize("dropout", [-0.1, 0.001, 0.999, 1.0, float("nan"), True])
def test_a_dropout_that_would_leave_out_nothing_or_all_is_refused(dropout):
    with pytest.raises(InvalidValue, match=r"SASRec\.dropout must be (0, or in \[0\.002, 0\.998\]|a finite number >= 0), got"):
        SASRec(dropout=dropout)
    assert [SASRec(dropout=good).dropout for good in (0.0, 0.002, 0.998)] == [0.0, 0.002, 0.998]


@pytest.mark.parametrize("encoder", FORMER)
def test_each_has_the_shared_settings_with_their_checks(encoder):
    shared = {field.name: field.default for field in attrs.fields(SequenceSettings)}
    assert shared.items() <= {field.name: field.default for field in attrs.fields(encoder)}.items()
    with pytest.raises(InvalidValue, match=rf"{encoder.__name__}\.epochs must be a whole number >= 1, got 0"):
        encoder(epochs=0)
