import json
import shutil

import pytest

import recsdk
from recsdk import cli


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["ledger", *map(str, arguments)])
    return caught.value.code or 0


@pytest.fixture
def shop(tmp_path):
    """Yields an open recommender with five decisions of two users, two of them rewarded."""
    with recsdk.Recommender.open(tmp_path / "shop", items=[{"id": "apple"}, {"id": "pear"}, {"id": "plum"}]) as shop:
        shown = [shop.recommend({}, size=2) for number in range(5)]
        for slate, value in zip(shown, (1.0, 0.0), strict=False):
            shop.reward(slate.decision_id, value, item=slate.ids[0])
        shop.remove_items(["plum"])
        yield shop


def test_show_counts_what_a_ledger_holds_also_while_it_is_open(shop, tmp_path, capsys):
    assert run("show", tmp_path / "shop", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    wanted = {"items": 2, "removed_items": 1, "decisions": 5, "items_shown": 10, "rewards": 2, "rewarded_decisions": 2, "mean_reward": 0.5}
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["first_decision"] <= facts["last_decision"]
    assert run("show", tmp_path / "shop") == 0
    assert "rewarded decisions" in capsys.readouterr().out


def test_a_backup_of_an_open_recommender_is_restored_into_an_empty_folder(shop, tmp_path, capsys):
    assert run("backup", tmp_path / "shop", tmp_path / "backup") == 0
    assert run("restore", tmp_path / "backup", tmp_path / "restored") == 0
    with recsdk.Recommender.open(tmp_path / "restored") as restored:
        assert restored.num_learned == shop.num_learned == 2
        assert restored.audit()
    capsys.readouterr()
    assert run("restore", tmp_path / "backup", tmp_path / "shop") == 2
    assert "must be an empty folder or none" in capsys.readouterr().err


def test_a_backup_that_was_copied_over_a_killed_recommender_is_told_in_one_line(shop, tmp_path, capsys):
    assert run("backup", tmp_path / "shop", tmp_path / "backup") == 0
    shop.recommend({})
    shutil.copytree(tmp_path / "shop", tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    shutil.copyfile(tmp_path / "backup" / "ledger.sqlite", tmp_path / "killed" / "ledger.sqlite")
    capsys.readouterr()
    for arguments in (("show", tmp_path / "killed"), ("backup", tmp_path / "killed", tmp_path / "more")):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert "belongs to another ledger.sqlite" in error
        assert error.count("\n") == 1


def test_a_folder_without_a_ledger_is_refused(tmp_path, capsys):
    assert run("show", tmp_path) == 2
    assert "There is no ledger in" in capsys.readouterr().err
