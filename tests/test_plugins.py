import json
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import plugins
from recsdk.base import INTERFACE_VERSION
from recsdk.errors import InvalidValue, MissingExtra, PluginClash, PluginLoadError, UnknownPlugin
from tests.distributions import write_distribution
from tests.processes import run_python

POLICY = """
class Coin:
    runs_on = ("numpy",)
    learns_from = "chosen"
    def __init__(self, *, heads=0.5, seed=0):
        if not 0 <= heads <= 1:
            raise ValueError(f"heads must be in [0, 1], got {heads}.")
        self.heads = heads
    def init(self, prior): ...
    def probs(self, state, rng, context): ...
    def update(self, state, interaction): ...
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [path.stem for path in tmp_path.glob("*.py")]:
        sys.modules.pop(name, None)


def acme(site, code, value="acme_part:Coin", kind="policies"):
    write_distribution(site, "acme", {kind: {"coin": value}}, {"acme_part": code})


def test_a_plugin_is_constructed_with_its_hyper_parameters(site):
    acme(site, POLICY)
    assert plugins.load("policies", "coin", heads=0.25).heads == 0.25


def test_a_plugin_may_be_a_factory_function(site):
    acme(site, POLICY + "def coin(*, weight=1): return Coin(heads=weight / 2)\n", "acme_part:coin")
    assert plugins.load("policies", "coin", weight=2).heads == 1


def test_a_plain_function_of_request_and_candidates_is_a_scorer(site):
    acme(site, "def half(request, candidates): return [0.5]\n", "acme_part:half", "scorers")
    scorer = plugins.load("scorers", "coin")
    assert len(scorer.columns) == 1


def test_listing_says_where_each_plugin_comes_from(site):
    acme(site, POLICY)
    assert plugins.Plugin("policies", "coin", "acme", "1.0", "acme_part:Coin") in plugins.installed("policies")
    assert all(plugin.kind == "scorers" for plugin in plugins.installed("scorers"))


def test_listing_imports_nothing(tmp_path):
    write_distribution(tmp_path, "acme", {"policies": {"coin": "acme_part:Coin"}}, {"acme_part": "raise SystemExit(3)"})
    code = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
from recsdk import plugins
names = [plugin.name for kind in plugins.KINDS for plugin in plugins.installed(kind)]
print(json.dumps([names, sorted(sys.modules)]))
"""
    names, modules = json.loads(run_python("-c", code).stdout)
    assert "coin" in names
    assert not {"acme_part", "jax", "recsdk.policies"} & set(modules)


def test_an_unknown_name_is_answered_with_the_nearest_and_all(site, monkeypatch):
    acme(site, POLICY)
    monkeypatch.setattr(sys, "path", [str(site)])
    expected = r"No policies plugin is named 'cion'\. Did you mean 'coin'\? Installed: \['coin'\]\."
    with pytest.raises(UnknownPlugin, match=expected):
        plugins.load("policies", "cion")
    with pytest.raises(UnknownPlugin, match=r"'acne:coin'\. Did you mean 'acme:coin'\?"):
        plugins.load("policies", "acne:coin")


def test_an_unknown_kind_is_refused():
    with pytest.raises(InvalidValue, match=r"kind must be one of .*'policies'.* got 'policy'"):
        plugins.load("policy", "uniform")


@pytest.fixture
def clashing(site):
    acme(site, POLICY)
    write_distribution(site, "Rival_Parts", {"policies": {"coin": "rival_part:Coin", "other": "rival_part:Coin"}}, {"rival_part": POLICY})


@pytest.mark.usefixtures("clashing")
class TestAClash:
    def test_is_no_error_until_the_name_is_used(self):
        assert [plugin.name for plugin in plugins.installed("policies")].count("coin") == 2
        assert plugins.load("policies", "other")

    def test_names_both_distributions_and_the_way_out(self):
        expected = r"Rival_Parts 1\.0 \(rival_part:Coin\) and acme 1\.0 .* Ask for 'Rival_Parts:coin' or 'acme:coin'\."
        with pytest.raises(PluginClash, match=expected):
            plugins.load("policies", "coin")

    @pytest.mark.parametrize(("address", "module"), [("acme:coin", "acme_part"), ("rival-parts:coin", "rival_part")])
    def test_is_solved_by_naming_the_distribution(self, address, module):
        assert type(plugins.load("policies", address)).__module__ == module


def test_one_distribution_that_gives_a_name_twice_is_told_to_mend_it(site):
    acme(site, POLICY)
    entry_points = site / "acme-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(entry_points.read_text() + "coin = acme_part:Other\n")
    with pytest.raises(PluginClash, match="each its own name"):
        plugins.load("policies", "acme:coin")


def test_a_distribution_that_is_twice_on_the_path_is_one(site, monkeypatch):
    acme(site, POLICY)
    older = site / "older"
    older.mkdir()
    acme(older, POLICY, "acme_part:Renamed")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older), str(site)])
    assert plugins.load("policies", "coin")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=6, unique=True))
def test_a_name_is_found_exactly_when_one_distribution_gives_it_and_an_address_always(pairs):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for distribution in {distribution for distribution, _ in pairs}:
            names = [name for giver, name in pairs if giver == distribution]
            write_distribution(Path(folder), distribution, {"policies": {name: f"{distribution}:{name}" for name in names}}, {})
        patch.setattr(sys, "path", [folder])
        for distribution, name in pairs:
            assert plugins.find("policies", f"{distribution}:{name}").value == f"{distribution}:{name}"
        for name in "xyz":
            givers = [giver for giver, given_name in pairs if given_name == name]
            if len(givers) == 1:
                assert plugins.find("policies", name).distribution == givers[0]
            else:
                with pytest.raises(PluginClash if givers else UnknownPlugin):
                    plugins.find("policies", name)


BROKEN = {
    "raises": ("raise RuntimeError('no licence')", "acme_part:Coin", "raises RuntimeError when imported: no licence"),
    "exits": ("import sys; sys.exit(3)", "acme_part:Coin", r"calls sys\.exit\(3\) when imported"),
    "stale": (POLICY, "acme_part:Renamed", "raises AttributeError when imported: .*Renamed"),
    "no module": (POLICY, "acme_gone:Coin", "raises ModuleNotFoundError when imported: .*acme_gone"),
    "no module, told how it came to be": (
        POLICY,
        "acme_gone.part:Coin",
        r'Was its folder built into the distribution\? Hatchling takes `packages = \["acme_gone"\]`',
    ),
    "malformed": (POLICY, "not a place", "raises .* when imported"),
    "not callable": ("Coin = 3", "acme_part:Coin", "must be a class or a function, got 3"),
    "interface": (
        POLICY + "    recsdk_interface = 99",
        "acme_part:Coin",
        f"is made for interface 99 of recsdk, and this recsdk has {INTERFACE_VERSION}",
    ),
    "interface, whatever it asks for": (
        "class Coin:\n    recsdk_interface = 99\n    def __init__(self, path): ...",
        "acme_part:Coin",
        "is made for interface 99",
    ),
    "interface of what a factory gives": (
        POLICY + "    recsdk_interface = 99\ndef coin(): return Coin()",
        "acme_part:coin",
        "is made for interface 99",
    ),
    "not a policy": ("class Coin: pass", "acme_part:Coin", r"lacks \['runs_on', 'learns_from', 'init', 'probs', 'update'\]"),
    "fails when constructed": (
        "class Coin:\n    def __init__(self): raise OSError('gone')",
        "acme_part:Coin",
        "raises OSError when constructed: gone",
    ),
    "exits when constructed": (
        "class Coin:\n    def __init__(self): raise SystemExit",
        "acme_part:Coin",
        r"calls sys\.exit\(None\) when constructed",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named_with_its_distribution_and_version(site, case):
    code, value, message = BROKEN[case]
    acme(site, code, value)
    with pytest.raises(PluginLoadError, match=f"policies plugin 'coin' of acme 1.0 .*{message}"):
        plugins.load("policies", "coin")


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_spoils_only_its_own_use(site, case):
    code, value, _ = BROKEN[case]
    acme(site, code, value)
    write_distribution(site, "sound", {"policies": {"sound": "sound_part:Coin"}}, {"sound_part": POLICY})
    with pytest.raises(PluginLoadError):
        plugins.load("policies", "coin")
    assert plugins.load("policies", "sound")


@pytest.mark.parametrize(("case", "cause"), [("raises", RuntimeError), ("exits", SystemExit), ("stale", AttributeError)])
def test_the_cause_is_chained(site, case, cause):
    code, value, _ = BROKEN[case]
    acme(site, code, value)
    with pytest.raises(PluginLoadError) as caught:
        plugins.load("policies", "coin")
    assert isinstance(caught.value.__cause__, cause)


def test_an_interrupt_from_the_keyboard_is_not_caught(site):
    acme(site, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.load("policies", "coin")


def test_a_plugin_that_states_this_interface_loads(site):
    acme(site, POLICY + f"    recsdk_interface = {INTERFACE_VERSION}")
    assert plugins.load("policies", "coin")


@pytest.mark.parametrize("when", ["import flax", POLICY.replace("self.heads = heads", "import flax.nnx")])
def test_a_missing_optional_dependency_is_answered_with_what_to_install(site, monkeypatch, when):
    monkeypatch.setitem(sys.modules, "flax", None)
    acme(site, when)
    with pytest.raises(MissingExtra, match=r"needs flax, which is not installed: pip install '\.\[deep\]'"):
        plugins.load("policies", "coin")


def test_a_wrong_hyper_parameter_is_answered_with_the_fields(site):
    acme(site, POLICY)
    with pytest.raises(InvalidValue, match=r"no hyper-parameter 'head'\. Did you mean 'heads'\? It has: \['heads', 'seed'\]"):
        plugins.load("policies", "coin", head=0.5)


def test_a_required_hyper_parameter_is_asked_for(site):
    acme(site, "class Coin:\n    def __init__(self, path, *, mode='r'): ...")
    with pytest.raises(InvalidValue, match=r"must be given the hyper-parameters \['path'\]\. It has: \['path', 'mode'\]"):
        plugins.load("policies", "coin", mode="w")


def test_a_plugin_that_takes_anything_gets_anything(site):
    acme(site, POLICY.replace("seed=0", "**others"))
    assert plugins.load("policies", "coin", whatever=1)


def test_a_hyper_parameter_may_be_called_kind_or_name(site):
    acme(site, POLICY.replace("seed=0", "kind='', name=''"))
    assert plugins.load("policies", "coin", kind="a", name="b")


def test_a_plugins_own_refusal_of_a_value_is_passed_on(site):
    acme(site, POLICY)
    with pytest.raises(ValueError, match=r"heads must be in \[0, 1\], got 2") as caught:
        plugins.load("policies", "coin", heads=2)
    assert type(caught.value) is ValueError


def test_a_failure_is_not_remembered(site):
    acme(site, "raise OSError('the disk is busy')")
    with pytest.raises(PluginLoadError, match="busy"):
        plugins.load("policies", "coin")
    (site / "acme_part.py").write_text(POLICY)
    assert plugins.load("policies", "coin")


def test_what_was_installed_since_the_last_look_is_found(site):
    with pytest.raises(UnknownPlugin):
        plugins.load("policies", "coin")
    acme(site, POLICY)
    assert plugins.load("policies", "coin")


DAMAGE = {
    "no metadata": ("METADATA", None),
    "nonsense": ("entry_points.txt", b"[recsdk.policies]\nno equals sign\n"),
    "binary": ("entry_points.txt", b"[recsdk.policies]\n\xff\xfe\x00"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_metadata_of_others_is_told_and_hides_nothing(site, case):
    acme(site, POLICY)
    write_distribution(site, "damaged", {"policies": {"lost": "lost:Lost"}}, {})
    file, content = DAMAGE[case]
    path = site / "damaged-1.0.dist-info" / file
    path.unlink() if content is None else path.write_bytes(content)
    assert plugins.load("policies", "coin")
    assert len(plugins.listing().unreadable) == 1
    with pytest.raises(UnknownPlugin, match=f"A distribution in {site} cannot be read"):
        plugins.load("policies", "lost")


def test_a_misspelt_group_is_told_with_the_nearest(site):
    write_distribution(site, "acme", {"scorer": {"cheap": "acme_part:cheap"}, "testing": {"trials": "acme_part:TRIALS"}}, {})
    wanted = r"acme 1\.0 has entry points in the group 'recsdk.scorer', which recsdk does not read\. Did you mean 'recsdk.scorers'\?"
    with pytest.raises(UnknownPlugin, match=wanted):
        plugins.load("scorers", "cheap")
    assert len(plugins.listing().unreadable) == 1


def test_finding_again_is_cheap(site):
    acme(site, POLICY)
    plugins.load("policies", "coin")
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        plugins.load("policies", "coin")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.001


def declared():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    groups = {kind: project["entry-points"].get(f"recsdk.{kind}", {}) for kind in plugins.KINDS}
    return [(kind, name) for kind, names in groups.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), declared())
def test_every_built_in_is_a_plugin_like_any_other(kind, name):
    factory = plugins.resolve(plugins.find(kind, f"recsdk:{name}"))
    if not any(plugins.hyperparameters(factory).values()):
        assert plugins.load(kind, f"recsdk:{name}")
