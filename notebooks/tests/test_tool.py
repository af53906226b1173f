"""The checks of `tools/notebooks.py` find what they look for."""

import sys
from pathlib import Path

import nbformat
import pytest

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tools"))
import notebooks as tool  # noqa: E402


def cell(*outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=list(outputs))])


def test_what_an_executed_notebook_must_not_have() -> None:
    out = nbformat.v4.new_output
    assert tool.faults(cell(out("stream", name="stdout", text="fine")), ["/home/x"]) == []
    (fault,) = tool.faults(cell(out("stream", name="stderr", text="Warning: old")), [])
    assert "standard error: Warning: old" in fault
    (fault,) = tool.faults(cell(out("error", ename="ValueError", evalue="no", traceback=[])), [])
    assert "ValueError: no" in fault
    (fault,) = tool.faults(cell(out("stream", name="stdout", text="/home/x/y")), ["/home/x"])
    assert "/home/x" in fault
    (fault,) = tool.faults(cell(out("stream", name="stdout", text="x" * tool.MOST_BYTES)), [])
    assert "bytes are more than" in fault


@pytest.mark.parametrize("source", sorted(HERE.glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_notebooks_have_what_they_promise(source: Path) -> None:
    notebook = tool.read(source)
    assert tool.read(source) == notebook
    first, parameters, setup = notebook.cells[:3]
    assert first.source.startswith("# ")
    assert "**" in first.source, "the question that it answers"
    assert parameters.metadata.tags == ["parameters"]
    assert "check_versions()" in setup.source
    other = nbformat.from_dict(notebook)
    other.cells[-1].source += " more"
    assert tool.source_of(other) != tool.source_of(notebook)
