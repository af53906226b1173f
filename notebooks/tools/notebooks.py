"""Makes notebooks of the `.py` files, executes them on the sample stores, and checks them.

`check` compares the committed notebooks with the files, and fails where one fails; `update` writes them anew.
Executed notebooks stand in `FOLDER/executed`.
"""

import argparse
import asyncio
import base64
import io
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image

HERE = Path(__file__).resolve().parent.parent
MOST_BYTES = 400_000
SECONDS_A_CELL = 300
JUPYTEXT = {"formats": "ipynb,py:percent"}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read(source: Path) -> NotebookNode:
    """The notebook of a `.py` file, without outputs; the same bytes each time."""
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
    notebook.metadata = {"jupytext": JUPYTEXT, "kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook.nbformat_minor = 5
    return notebook


def source_of(notebook: NotebookNode) -> list[tuple[str, str, list[str]]]:
    """What a notebook says, without what came out."""
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]


def text_of(notebook: NotebookNode) -> list[str]:
    """Outputs as text. Pictures are left out: they may differ in a bit from machine to machine."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [str(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in outputs]


def clean(notebook: NotebookNode) -> None:
    """Leaves out what differs from run to run."""
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                # Of a chart, the text is only the name of its class.
                output["data"] = {
                    "image/png": smaller(output["data"]["image/png"]),
                    "text/plain": "(a chart)",
                }
                output["metadata"] = {}


def smaller(png: str) -> str:
    """The same picture in 256 colours, a fifth of the size."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    out = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return base64.b64encode(out.getvalue()).decode()


def faults(notebook: NotebookNode, private: list[str]) -> list[str]:
    """What an executed notebook must not have."""
    found = []
    text = nbformat.writes(notebook)
    if len(text.encode()) > MOST_BYTES:
        found.append(f"{len(text.encode()):,} bytes are more than {MOST_BYTES:,}")
    found += [f"names the folder {folder} of this machine" for folder in private if folder in text]
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                # An object that cannot be shown stops no cell.
                found.append(f"a cell shows an error: {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                found.append(f"a cell wrote to standard error: {output.text.strip()[:300]}")
    return found


async def execute(notebook: NotebookNode, folder: Path, runtime: Path) -> float:
    """Runs a notebook in a folder; seconds that it took. Sockets of its kernel stand in `runtime`."""
    at = time.monotonic()
    # By sockets of the file system: no port of this machine is opened.
    kernel = AsyncKernelManager(
        kernel_name="python3", transport="ipc", ip=str(runtime / uuid.uuid4().hex[:8])
    )
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=SECONDS_A_CELL,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        await client.async_execute()
    finally:
        await kernel.shutdown_kernel(now=True)
    return time.monotonic() - at


async def run(mode: str, folder: Path, runtime: Path) -> list[str]:
    """Executes all notebooks; what is wrong, in words."""
    wrong: list[str] = []
    slots = asyncio.Semaphore(os.cpu_count() or 1)
    private = [str(folder), str(HERE.parent), sys.prefix]
    executed = folder / "executed"
    executed.mkdir(parents=True, exist_ok=True)

    async def one(source: Path) -> None:
        committed = source.with_suffix(".ipynb")
        notebook = read(source)
        before = nbformat.read(committed, as_version=4) if committed.exists() else None
        if mode == "check" and (before is None or source_of(before) != source_of(notebook)):
            wrong.append(f"{committed.name} is not what {source.name} says: run notebooks/run.sh --update")
        try:
            async with slots:
                seconds = await execute(notebook, folder, runtime)
        except CellExecutionError as error:
            wrong.append(f"{source.name} fails:\n{error}")
            return
        clean(notebook)
        wrong.extend(f"{source.name} {fault}" for fault in faults(notebook, private))
        to = committed if mode == "update" else executed / committed.name
        nbformat.write(notebook, to)
        size = to.stat().st_size
        print(f"    {source.stem:32} {seconds:5.1f} s  {size / 1000:5.0f} kB", file=sys.stderr)
        if mode == "check" and before is not None and text_of(before) != text_of(notebook):
            print(
                f"    note: {committed.name} has other outputs than this run: notebooks/run.sh --update",
                file=sys.stderr,
            )

    await asyncio.gather(*(one(source) for source in sorted(HERE.glob("[0-9]*.py"))))
    known = {source.stem for source in HERE.glob("[0-9]*.py")}
    wrong += [
        f"{path.name} has no .py file beside it" for path in HERE.glob("*.ipynb") if path.stem not in known
    ]
    return wrong


def main() -> int:
    """Exit code 1 where a notebook is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["check", "update"])
    parser.add_argument("--folder", type=Path, required=True, help="has `samples`; notebooks run in it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wsp-") as runtime:
        # The environment that this runs in, and nothing of the user's. Paths of sockets must be short.
        os.environ |= {"JUPYTER_PREFER_ENV_PATH": "1", "IPYTHONDIR": runtime, "JUPYTER_RUNTIME_DIR": runtime}
        wrong = asyncio.run(run(arguments.mode, arguments.folder, Path(runtime)))
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
