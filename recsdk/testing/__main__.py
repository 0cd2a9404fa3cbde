"""`python -m recsdk.testing DISTRIBUTION`: does what it has installed obey the laws?

Exit codes: 0 every law holds or is skipped with a reason, 1 one does not, 2 a bad argument or a `RecsdkError`, told in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from recsdk.cli.output import JsonFlag, notes, print_error, print_json, results
from recsdk.errors import RecsdkError
from recsdk.testing.trials import Finding, Trial, examine, num_laws, plugins_of, trials_of

COLOURS = {"pass": "green", "skip": "yellow", "fail": "red"}


def check(distribution: str, /, *, json: JsonFlag = False) -> int:
    """Hold every policy, scorer, encoder and retriever of an installed distribution to the laws of its kind.

    Exits with 1 when one does not obey.

    Args:
        distribution: Its name, such as recsdk-vw.
        json: Print the findings as JSON.
    """
    own = plugins_of(distribution)
    trials = trials_of(own[0].distribution, [plugin.name for plugin in own])
    findings = []
    with Progress(console=notes(), transient=True) as progress:
        task = progress.add_task("Trying", total=num_laws(own))
        for plugin in own:
            progress.update(task, description=plugin.name)
            for finding in examine(plugin, trials.get(plugin.name, Trial())):
                findings.append(finding)
                progress.advance(task)
    if json:
        print_json([finding._asdict() for finding in findings])
    else:
        _print(findings)
    return int(any(finding.outcome == "fail" for finding in findings))


def _print(findings: list[Finding]) -> None:
    console = results()
    for kind in dict.fromkeys(finding.kind for finding in findings):
        found = {(finding.law, finding.name): finding.outcome for finding in findings if finding.kind == kind}
        laws, names = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 1))
        table = Table("law", *names, title=kind, title_justify="left")
        for law in laws:
            outcomes = [found.get((law, name), "") for name in names]
            table.add_row(law, *(Text(outcome, style=COLOURS.get(outcome, "")) for outcome in outcomes))
        console.print(table)
    for outcome, title in (("skip", "skipped"), ("fail", "failed")):
        by_reason: dict[str, list[Finding]] = {}
        for finding in findings:
            if finding.outcome == outcome:
                by_reason.setdefault(" ".join(finding.reason.split()), []).append(finding)
        for reason, told in by_reason.items():
            held, whose = (", ".join(dict.fromkeys(finding[place] for finding in told)) for place in (2, 1))
            console.print(Text(f"{title}: {held} ({whose}): {reason}", style=COLOURS[outcome]), soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command and exits with its code; `arguments` are without the program's name, None for the command line's."""
    app = App(name="python -m recsdk.testing", help_format="plaintext", version_flags=())
    app.default(check)
    try:
        app(sys.argv[1:] if arguments is None else arguments, exit_on_error=False)
    except CycloptsError:  # already printed
        sys.exit(2)
    except RecsdkError as error:
        print_error(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
