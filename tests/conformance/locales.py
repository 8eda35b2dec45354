"""The locale en_US.UTF-8 as the container images provide it: under another name of the C.utf8 that every Debian has."""

from pathlib import Path

PLAIN = Path("/usr/lib/locale/C.utf8")


def with_english(folder: Path) -> dict[str, str]:
    """Environment in which en_US.UTF-8 is found, in `folder`; none where this machine has no C.utf8 to show."""
    if not PLAIN.is_dir():
        return {}
    (folder / "en_US.utf8").symlink_to(PLAIN)
    return {"LOCPATH": str(folder)}
