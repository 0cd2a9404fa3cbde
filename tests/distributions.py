"""Writes distributions that look installed."""

from pathlib import Path


def write_distribution(
    site: Path, name: str, entry_points: dict[str, dict[str, str]], modules: dict[str, str], version: str = "1.0"
) -> None:
    """Writes a distribution's metadata and modules into `site`, a folder to be put on `sys.path`.

    Args:
        site: the folder.
        name: of the distribution.
        entry_points: kind -> name -> value.
        modules: name -> source.
        version: of the distribution.
    """
    information = site / f"{name}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for kind, values in entry_points.items()
        for line in (f"[recsdk.{kind}]", *(f"{name} = {value}" for name, value in values.items()))
    ]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
