"""The README's picture is what the bundled recordings say."""

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

import readme_picture  # noqa: E402


def test_it_is_current(recordings: Path) -> None:
    drawn = readme_picture.picture(str(recordings))
    assert drawn == readme_picture.TO.read_text(), (
        "python notebooks/tools/readme_picture.py STORE writes it anew"
    )
