"""The tutorial's package, built from the page as it stands there, installs and does what the page says."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recsdk import cli, plugins

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "write-a-plugin.md"
FILE = re.compile(r"^`(acme-rec/\S+)`[^\n]*:\n\n(?:<!--.*?-->\n\n)?```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with the page's files, and one where the wheel that is built from them is installed."""
    folder, site = tmp_path_factory.mktemp("written"), tmp_path_factory.mktemp("site")
    for name, content in FILE.findall(PAGE.read_text()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=folder / "acme-rec",
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("acme-rec/dist/*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return folder / "acme-rec", site


def test_every_file_of_the_tree_stands_on_the_page(package):
    folder, _ = package
    tree = re.search(r"```text\nacme-rec/\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    named = {line.strip() for line in tree.splitlines() if not line.endswith("/")}
    assert {path.name for path in folder.rglob("*") if path.suffix in (".py", ".toml")} == named


def test_its_own_tests_pass(package):
    folder, site = package
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(folder / "tests")]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}
    run = subprocess.run(command, cwd=folder, env=paths, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout


def test_the_doctor_finds_its_plugins_sound(package, monkeypatch, capsys):
    _, site = package
    monkeypatch.syspath_prepend(site)
    found = plugins.listing()
    own = tuple(plugin for plugin in found.plugins if plugin.distribution == "acme-rec")
    monkeypatch.setattr("recsdk.cli.doctor.listing", lambda: plugins.Listing(own, found.unreadable))
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "--json"])
    assert not ended.value.code
    report = json.loads(capsys.readouterr().out)
    told = {(row["kind"], row["name"]): row["status"] for row in report["plugins"]}
    assert told == {("encoders", "factors"): "ok", ("policies", "softmax"): "ok", ("scorers", "novelty"): "ok"}
