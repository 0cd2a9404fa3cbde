import contextlib
import io
import json
import platform
import re
import sqlite3
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from recsdk import cli, plugins
from recsdk.errors import InvalidValue, LedgerCorrupt
from tests.distributions import write_distribution
from tests.processes import run_python

POLICY = """
class Coin:
    runs_on = ("numpy",)
    learns_from = "chosen"
    def init(self, prior): ...
    def probs(self, state, rng, context): ...
    def update(self, state, interaction): ...
"""

# name -> source, status, and what the detail must say
CASES = {
    "sound": (POLICY, "ok", ""),
    "chatty": ("print('x' * 100_000)" + POLICY, "ok", ""),
    "asks": ("class Coin:\n    def __init__(self, path): ...", "ok", r"was not constructed: it must be given \['path'\]"),
    "raises": ("raise RuntimeError('no licence')", "broken", "raises RuntimeError when imported: no licence"),
    "exits": ("import sys; sys.exit(3)", "broken", r"calls sys\.exit\(3\) when imported"),
    "leaves": ("import os; os._exit(5)", "broken", "ends its process with exit code 5"),
    "leaves-silently": ("import os; os._exit(0)", "broken", "ends its process with exit code 0"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "broken", "crashes its process with SIGSEGV"),
    "hangs": ("import time; time.sleep(600)", "broken", "hangs: .* within 5 s"),
    "reads": ("input()", "broken", "raises EOFError when imported"),
    "interface": (POLICY + "    recsdk_interface = 99", "broken", "made for interface 99"),
    "refuses": (POLICY + "    def __init__(self, x=2): raise ValueError('x')", "broken", "refuses its own defaults: ValueError: x"),
    "lacks": ("raise ModuleNotFoundError('no jax', name='jax')", "missing-extra", r"pip install '\.\[deep\]'"),
    "stale": ("", "broken", "raises AttributeError when imported"),
}


def write_case(site, name, source):
    module = f"case_{name.replace('-', '_')}"
    write_distribution(site, f"case-{name}", {"policies": {name: f"{module}:Coin"}}, {module: source})


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code or 0


def hide_built_ins(patch):
    """Leaves only the distributions of the tests, so that no test waits for JAX."""
    found = plugins.listing

    def listing():
        kept = tuple(plugin for plugin in found().plugins if plugin.distribution.startswith("case-"))
        return plugins.Listing(kept, found().unreadable)

    patch.setattr("recsdk.cli.doctor.listing", listing)
    patch.setattr("recsdk.cli.plugins.listing", listing)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    hide_built_ins(monkeypatch)
    return tmp_path


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory):
    """The exit code and report of one run of the doctor over all cases."""
    folder = tmp_path_factory.mktemp("site")
    for name, (source, _, _) in CASES.items():
        write_case(folder, name, source)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.syspath_prepend(folder)
        hide_built_ins(patch)
        code = run("doctor", "--json", "--timeout", "5")
    return code, json.loads(printed.getvalue())


@pytest.mark.parametrize("name", CASES)
def test_the_doctor_says_what_is_wrong_with_each_plugin(diagnosis, name):
    _, status, detail = CASES[name]
    (found,) = [plugin for plugin in diagnosis[1]["plugins"] if plugin["name"] == name]
    assert found["status"] == status
    assert re.search(detail, found["detail"])
    assert bool(detail) == bool(found["detail"])


def test_the_doctor_exits_with_1_when_something_is_broken(diagnosis):
    assert diagnosis[0] == 1


def test_the_doctor_reports_versions_and_extras(diagnosis):
    report = diagnosis[1]
    assert report["versions"]["python"] == platform.python_version()
    assert report["versions"]["numpy"] == metadata.version("numpy")
    assert report["versions"]["sqlite"] == sqlite3.sqlite_version
    assert set(report["extras"]) == set(metadata.metadata("recsdk").get_all("Provides-Extra")) - {"all"}


def test_the_doctor_exits_with_0_when_all_is_well(site, capsys):
    write_case(site, "sound", POLICY)
    assert run("doctor") == 0
    printed = capsys.readouterr().out
    assert "case-sound" in printed
    assert "recsdk[deep]" in printed


def test_an_optional_dependency_that_is_missing_breaks_nothing(site, capsys):
    write_case(site, "lacks", CASES["lacks"][0])
    assert run("doctor") == 0
    assert "pip install '.[deep]'" in capsys.readouterr().out


def test_the_doctor_ends_what_a_hanging_plugin_has_started(site, capsys):
    note = site / "child"
    write_case(
        site,
        "breeds",
        f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(note)!r}).write_text(str(child.pid))
child.wait()
""",
    )
    assert run("doctor", "--timeout", "2") == 1
    assert is_gone(int(note.read_text()))


def is_gone(process_id):
    for _ in range(100):
        state = Path(f"/proc/{process_id}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf"])
def test_a_timeout_that_is_no_time_is_refused(capsys, timeout):
    assert run("doctor", "--timeout", timeout) == 2
    assert "timeout must be a finite number" in capsys.readouterr().err


def test_plugins_lists_them_as_json(site, capsys):
    write_case(site, "sound", POLICY)
    assert run("plugins", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "plugins": [
            {
                "kind": "policies",
                "name": "sound",
                "distribution": "case-sound",
                "version": "1.0",
                "value": "case_sound:Coin",
                "clash": False,
            }
        ],
        "unreadable": [],
    }


def test_plugins_marks_a_clash_and_says_what_to_do(site, capsys):
    write_case(site, "sound", POLICY)
    write_distribution(site, "case-rival", {"policies": {"sound": "rival:Coin"}}, {})
    assert run("plugins") == 0
    answer = capsys.readouterr()
    assert answer.out.count("(clash)") == 2
    assert "distribution:name" in answer.err


def test_plugins_tells_of_unreadable_metadata_on_standard_error(site, capsys):
    write_distribution(site, "damaged", {"policies": {"lost": "lost:Lost"}}, {})
    (site / "damaged-1.0.dist-info" / "METADATA").unlink()
    assert run("plugins") == 0
    assert "cannot be read" in capsys.readouterr().err


def test_an_error_of_recsdk_is_one_line_on_standard_error(capsys, monkeypatch):
    def fail():
        raise LedgerCorrupt("row 7 of [ledger]\nis not what was written")

    monkeypatch.setattr("recsdk.cli.plugins.listing", fail)
    assert run("plugins") == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err == "row 7 of [ledger] is not what was written\n"


def test_an_error_that_is_not_recsdks_keeps_its_traceback(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr("recsdk.cli.plugins.listing", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["plugins"])


@pytest.mark.parametrize("arguments", [["plugins", "--colour"], ["heal"], ["doctor", "--timeout", "soon"]])
def test_a_bad_argument_exits_with_2(capsys, arguments):
    assert run(*arguments) == 2
    assert "Error" in capsys.readouterr().err


def test_demo_passes_its_arguments_on_and_prints_the_summary(capsys, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("recsdk.demo.run", lambda out, **options: calls.append((out, options)) or {"reward": 0.5})
    assert run("demo", "--out", str(tmp_path), "--quick", "--json") == 0
    assert calls == [(tmp_path, {"quick": True})]
    assert json.loads(capsys.readouterr().out) == {"reward": 0.5}


def test_python_m_recsdk_is_the_command():
    answer = run_python("-m", "recsdk", "--version")
    assert answer.stdout.strip() == metadata.version("recsdk")


def test_help_fits_80_columns():
    assert max(map(len, cli._help().splitlines())) <= 80


def test_help_names_every_command_and_imports_none():
    answer = run_python("-X", "importtime", "-m", "recsdk", "--help")
    assert all(name in answer.stdout for name in cli.COMMANDS)
    assert not re.search(r"recsdk\.cli\.\w", answer.stderr)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(capsys, name):
    assert run(name, "--help") == 0
    assert cli.COMMANDS[name] in " ".join(capsys.readouterr().out.split())


COMMAND = """
from recsdk.errors import InvalidValue
def greet(name: str, /, *, twice: bool = False):
    '''Greet somebody.

    Args:
        name: Who.
        twice: Do it again.
    '''
    if name == "nobody":
        raise InvalidValue("name must be somebody's.")
    print("hello " * (1 + twice) + name)
"""
APP = """
'Count sheep.'
from cyclopts import App
sheep = App(name="sheep", help="Count sheep.", help_format="plaintext")
@sheep.default
def count(): print("one")
@sheep.command
def wolves(): print("none")
"""


@pytest.fixture
def extended(tmp_path, monkeypatch):
    commands = {"greet": "acme_commands:greet", "sheep": "acme_sheep:sheep", "broken": "acme_broken:broken", "demo": "acme_broken:demo"}
    modules = {"acme_commands": COMMAND, "acme_sheep": APP, "acme_broken": "import acme_is_not_there"}
    write_distribution(tmp_path, "acme", {"commands": commands}, modules)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["greet", "ann", "--twice"], "hello hello ann"),
        (["acme:greet", "ann"], "hello ann"),
        (["sheep"], "one"),
        (["sheep", "wolves"], "none"),
        (["greet", "--help"], "Greet somebody."),
    ],
)
def test_a_distribution_adds_commands(extended, capsys, words, printed):
    assert run(*words) == 0
    assert printed in capsys.readouterr().out


def test_a_command_of_another_distribution_ends_as_the_own_do(extended, capsys):
    assert run("greet", "nobody") == 2
    assert capsys.readouterr().err == "name must be somebody's.\n"
    assert run("broken") == 2
    assert "commands plugin 'broken' of acme 1.0 raises ModuleNotFoundError when imported" in capsys.readouterr().err


def test_no_distribution_replaces_an_own_command(extended, capsys):
    assert run("demo", "--help") == 0
    assert cli.COMMANDS["demo"] in " ".join(capsys.readouterr().out.split())


def test_help_names_the_commands_of_other_distributions_and_imports_none(extended, monkeypatch):
    monkeypatch.setattr("sys.modules", {name: module for name, module in sys.modules.items() if not name.startswith("acme")})
    printed = cli._help()
    assert re.search(r"^  greet +Greet somebody\.$", printed, re.MULTILINE)
    assert re.search(r"^  sheep +Count sheep\.$", printed, re.MULTILINE)
    assert re.search(r"^  broken +A command of acme\.$", printed, re.MULTILINE)
    assert not [name for name in sys.modules if name.startswith("acme")]


def test_the_doctor_imports_a_command_and_does_not_run_it(site, capsys):
    write_distribution(site, "case-command", {"commands": {"shout": "shouts:shout"}}, {"shouts": "def shout(): raise SystemExit(7)"})
    assert run("doctor") == 0
    assert "shout" in capsys.readouterr().out


def test_a_command_is_not_constructed(extended):
    with pytest.raises(InvalidValue, match="`recsdk greet` runs it"):
        plugins.load("commands", "greet")
