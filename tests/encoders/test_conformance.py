"""The built-in encoders under the conformance kit."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from recsdk import testing
from recsdk.encoders.gru import GRU
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.two_tower import TwoTower

CACHE = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}
TRAINING = {"dim": 8, "max_length": 8, "epochs": 10, "warmup_steps": 0, "learning_rate": 0.02, "progress": False}


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    """Lets this process and the kit's other ones share compiled programs: compiling takes most of the time."""
    wanted = {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("programs")), **CACHE}
    before = {name: getattr(jax.config, name) for name in wanted}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wanted.items():
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@testing.parametrize_encoders(
    TwoTower(dim=8, num_buckets=512, epochs=1, progress=False),
    SASRec(num_layers=1, num_heads=2, **TRAINING),
    GRU(dropout=0.0, **TRAINING),
)
def test_conforms(encoder, check):
    check(encoder)
