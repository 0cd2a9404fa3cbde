import json
import shutil

import pytest

import recsdk
from recsdk import cli
from recsdk.cli.facts import _cell
from tests.live.shop import alter, request, small_recommender, tables


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


def test_one_decision_is_shown_with_all_that_is_known_of_it(shop, tmp_path, capsys):
    decision = next(shop._loop.ledger.decisions()).decision_id
    assert run("show", tmp_path / "shop", decision, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert {shown["item"] for shown in facts["shown"]} <= {"apple", "pear", "plum"}
    assert [reward["value"] for reward in facts["rewards"]] == [1.0]
    assert run("show", tmp_path / "shop", "none") == 2
    assert "No decision 'none'" in capsys.readouterr().err


def test_tail_prints_the_last_of_each_kind_in_order_of_time(shop, tmp_path, capsys):
    assert run("tail", tmp_path / "shop", "--num", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["decision", "decision", "reward", "reward"]
    times = [line.split()[:2] for line in lines]
    assert times == sorted(times)


def test_tail_follows_and_tells_what_comes_once(shop, tmp_path, capsys, monkeypatch):
    looks = iter([None, None])

    def pause(seconds):
        if next(looks, "over") == "over":
            raise KeyboardInterrupt
        shop.recommend({}, decision_id=f"more-{seconds}-{len(list(shop._loop.ledger.decisions()))}")

    monkeypatch.setattr("time.sleep", pause)
    assert run("tail", tmp_path / "shop", "--num", "1", "--follow") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["decision", "reward", "decision", "decision"]
    assert "more-1.0-5" in lines[2]
    assert "more-1.0-6" in lines[3]


def test_stats_count_a_corrected_reward_once_and_one_taken_back_not_at_all(tmp_path, capsys):
    with recsdk.Recommender.open(tmp_path / "kiosk", items=[{"id": "tea"}], policy="lin-ts") as kiosk:
        for name, value in (("order-1", 0.25), ("order-2", None), ("order-3", 0.75)):
            kiosk.reward(kiosk.recommend({}, decision_id=name).decision_id, 1.0)
            kiosk.correct(f"{name}/0", value)
    assert run("stats", tmp_path / "kiosk", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["rewards"] == 2
    assert printed["reward"]["mean"] == 0.5


def test_what_is_no_decision_and_no_signal_of_the_application_is_counted_by_itself(tmp_path, capsys):
    feedback = recsdk.Feedback(window=600, signals={"click": 1})
    traffic = recsdk.Traffic(sticky=600)
    with recsdk.Recommender.open(
        tmp_path / "kiosk", items=[{"id": "tea"}, {"id": "ice"}], policy="lin-ts", feedback=feedback, traffic=traffic
    ) as kiosk:
        shown = [kiosk.recommend({}, user="ann").decision_id for _ in range(3)]
        kiosk.signal("click", decision_id=shown[0], position=0, signal_id="s1")
        kiosk.correct("s1", None)
    assert run("stats", tmp_path / "kiosk", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["decisions"], facts["served_again"], facts["signals"], facts["also_told"]) == (1, 2, {"click": 1}, {"retracted": 1})
    assert run("show", tmp_path / "kiosk", "--json") == 0
    assert json.loads(capsys.readouterr().out)["decisions"] == 1
    for command in ("stats", "tail"):
        assert run(command, tmp_path / "kiosk") == 0
        printed = capsys.readouterr().out
        assert "retracted" in printed
        assert "@" not in printed


def test_numbers_have_separators(tmp_path, capsys):
    assert [_cell("", value) for value in (1234, 1234.5, 12.345, 714400.0, 0.5)] == ["1,234", "1,234", "12.35", "714,400", "0.5"]


def open_canteen(folder):
    return recsdk.Recommender.open(folder, items=[{"id": "tea"}, {"id": "ice"}], scorers=["popularity"], policy="lin-ts", floor=0.1)


def test_forget_does_what_the_recommender_does(tmp_path, capsys):
    for name in ("one", "other"):
        with open_canteen(tmp_path / name) as canteen:
            for number in range(6):
                user = f"u{number % 2}"
                canteen.reward(canteen.recommend({}, user=user, decision_id=f"d{number}").decision_id, float(number % 3))
    with open_canteen(tmp_path / "other") as canteen:
        wanted = canteen.forget("u0")
    assert run("forget", tmp_path / "one", "u0", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert {**done, "seconds": 0} == {**wanted._asdict(), "seconds": 0}
    assert (done["num_decisions"], done["num_rewards"], done["state"]) == (3, 3, "folded")
    with open_canteen(tmp_path / "one") as canteen:
        assert canteen.audit()
        assert b"u0" not in b"".join(path.read_bytes() for path in (tmp_path / "one").rglob("*") if path.is_file())
        assert canteen.policy == recsdk.WithFloor(policy=recsdk.LinTS(), floor=0.1)


def test_drop_does_what_the_recommender_does_and_show_says_how_many(tmp_path, capsys):
    with open_canteen(tmp_path / "canteen") as canteen:
        for number in range(6):
            canteen.reward(canteen.recommend({}, decision_id=f"d{number}").decision_id, float(number % 3))
        assert run("drop", tmp_path / "canteen", "--days", "0") == 2
        assert "is open in this process" in capsys.readouterr().err
    assert run("drop", tmp_path / "canteen", "--days", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["num_decisions"] == 0
    assert run("drop", tmp_path / "canteen", "--days", "0") == 0
    assert "Dropped" in capsys.readouterr().out
    assert run("show", tmp_path / "canteen", "--json") == 0
    assert json.loads(capsys.readouterr().out)["dropped"] == 6
    with open_canteen(tmp_path / "canteen") as canteen:
        assert canteen.num_learned == 6
        assert canteen.audit()


def test_forgetting_a_user_who_is_not_there_changes_nothing(tmp_path, capsys):
    with open_canteen(tmp_path / "canteen") as canteen:
        canteen.reward(canteen.recommend({}, user="ann").decision_id, 1.0)
        assert run("forget", tmp_path / "canteen", "ann") == 2
        assert "is open in this process" in capsys.readouterr().err
    before = tables(tmp_path / "canteen")
    assert run("forget", tmp_path / "canteen", "bob", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert {name: value for name, value in done.items() if name != "seconds"} == {
        "num_decisions": 0,
        "num_signals": 0,
        "num_rewards": 0,
        "num_waiting": 0,
        "state": "nothing",
        "num_fixed": 0,
        "num_dropped": 0,
    }
    assert run("forget", tmp_path / "canteen", "bob") == 0
    assert "nothing" in capsys.readouterr().out
    assert tables(tmp_path / "canteen") == before


def test_forget_says_how_where_a_part_is_a_function_of_the_application(tmp_path, capsys):
    with recsdk.Recommender.open(tmp_path / "bar", items=[{"id": "tea"}], scorers=[warmth], policy="lin-ts") as bar:
        bar.recommend({}, user="ann")
    assert run("forget", tmp_path / "bar", "ann") == 2
    assert "warmth" in capsys.readouterr().err


def warmth(request, candidates):
    return [1.0] * len(candidates.ids)


def test_forget_keeps_a_trial_as_it_is(tmp_path, capsys):
    trials = recsdk.Trials(challengers={"bold": "lin-ucb"})
    parts = {"items": [{"id": "tea"}, {"id": "ice"}], "policy": "lin-ts", "trials": trials, "reward_range": (0, 1)}
    with recsdk.Recommender.open(tmp_path / "bar", **parts) as bar:
        for number in range(8):
            bar.reward(bar.recommend({}, user=f"u{number % 4}").decision_id, float(number % 2))
    assert run("forget", tmp_path / "bar", "u0") == 0
    with recsdk.Recommender.open(tmp_path / "bar", **parts) as bar:
        assert bar.standings()[0].num_rounds == 6
        assert bar.audit()


def test_stats_sum_up_decisions_and_rewards(shop, tmp_path, capsys):
    assert run("stats", tmp_path / "shop", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["decisions"], facts["rewards"], facts["items_shown"]["mean"], facts["reward"]["max"]) == (5, 2, 2.0, 1.0)
    assert run("stats", tmp_path / "shop") == 0
    assert "min 3, median 3, mean 3, max 3" in capsys.readouterr().out


def test_check_ends_with_1_and_names_what_is_wrong(shop, tmp_path, capsys):
    shop.close()
    assert run("check", tmp_path / "shop") == 0
    assert "all well" in capsys.readouterr().out
    alter(tmp_path / "shop", "UPDATE rewards SET value = 7")
    assert run("check", tmp_path / "shop") == 1
    assert "checksum" in capsys.readouterr().out
    assert run("check", tmp_path / "shop", "--json") == 1
    assert [finding["check"] for finding in json.loads(capsys.readouterr().out) if finding["num_problems"]] == ["records"]


def test_repair_copies_first_and_does_nothing_unless_told(shop, tmp_path, capsys):
    folder = tmp_path / "shop"
    shop.close()
    assert run("repair", folder, tmp_path / "before") == 0
    assert "nothing to repair" in capsys.readouterr().out
    alter(folder, "DELETE FROM rewards WHERE number = 2")
    damaged = (folder / "ledger.sqlite").read_bytes()
    assert run("repair", folder, tmp_path / "before") == 1
    assert "1 rewards" in capsys.readouterr().err
    assert not (tmp_path / "before").exists()
    assert (folder / "ledger.sqlite").read_bytes() == damaged
    assert run("repair", folder, folder.parent, "--yes") == 2
    assert "must be an empty folder" in capsys.readouterr().err
    assert run("repair", folder, tmp_path / "before", "--yes") == 0
    assert "1 rewards" in capsys.readouterr().out
    assert (tmp_path / "before" / "ledger.sqlite").read_bytes() == damaged
    with recsdk.Recommender.open(folder) as again:
        assert again.num_learned == 1


def test_an_export_is_imported_as_the_same_ledger_and_nothing_is_overwritten(shop, tmp_path, capsys):
    assert run("export", tmp_path / "shop", tmp_path / "shop.jsonl") == 0
    assert run("import", tmp_path / "shop.jsonl", tmp_path / "again") == 0
    assert "5 decisions" in capsys.readouterr().out
    assert tables(tmp_path / "again") == tables(tmp_path / "shop")
    assert run("import", tmp_path / "shop.jsonl", tmp_path / "again") == 2
    assert run("export", tmp_path / "shop", tmp_path / "shop.csv") == 2
    assert "must end in .jsonl" in capsys.readouterr().err


def test_an_export_for_another_program_says_what_can_be_learned_from_it_and_what_is_left_out(tmp_path, capsys):
    with small_recommender(tmp_path / "shop", policy="lin-ts", log_features="all") as shop:
        for number in range(3):
            shown = shop.recommend(request(number))
        shop.reward(shown.decision_id, 1.0)
    assert run("export", tmp_path / "shop", tmp_path / "shop.dsjson") == 0
    told = capsys.readouterr()
    assert "3 decisions" in told.out
    assert "decisions to learn from: 1" in told.err
    assert "decisions left out: not rewarded: 2" in told.err
    assert run("export", tmp_path / "shop", tmp_path / "logs", "--format", "open-bandit", "--default-reward", "0", "--window", "0") == 0
    assert "decisions to learn from: 3" in capsys.readouterr().err
    assert run("import", tmp_path / "logs", tmp_path / "again", "--format", "open-bandit") == 2
    assert "cannot become a folder" in " ".join(capsys.readouterr().err.split())
    assert run("import", tmp_path / "shop.dsjson", tmp_path / "again") == 0
    assert tables(tmp_path / "again") == tables(tmp_path / "shop")


def test_compact_says_what_it_moved_and_refuses_a_folder_that_is_open(shop, tmp_path, capsys):
    assert run("compact", tmp_path / "shop", "--days", "0") == 2
    assert "is open in this process" in capsys.readouterr().err
    shop.close()
    assert run("compact", tmp_path / "shop", "--days", "0") == 0
    assert "5 decisions are moved" in capsys.readouterr().out
    assert run("check", tmp_path / "shop") == 0
