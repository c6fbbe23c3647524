"""Python in README and docs runs, page by page, beside an image and a trace; commands have the options named.

A block that needs what a test has not says so after the word python: `needs=checkpoint`, `needs=gpu`,
`needs=data` (images or a video), `needs=run` (the folder of a run). It is compiled, and no more. `from=FILE`:
a block that quotes a file of the package; its lines are compared.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from PIL import Image
from skimage import data
from typer.core import TyperGroup

from carlab.cli.app import app
from tests.traces import make_trace

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/howto").glob("*.md")),
]
FENCE = re.compile(r"^```python *(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {"", "needs=checkpoint", "needs=gpu", "needs=data", "needs=run"}
COMMAND = re.compile(r"^(?: {4}|\$ )(carlab (?:.*))$", re.MULTILINE)


class Block(NamedTuple):
    """A block of Python, and the line that it begins in."""

    line: int
    needs: str
    code: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(text[: found.start()].count("\n") + 1, found[1], found[2])


def quotes(block: Block) -> bool:
    """Whether the lines of a block stand in the file that it names, in this order."""
    lines = map(str.strip, (ROOT / block.needs.removeprefix("from=")).read_text().splitlines())
    return all(line.strip() in lines for line in block.code.splitlines())


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


WITH_CODE = [page for page in PAGES if any(blocks(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=names(WITH_CODE))
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from carlab.stages.prompter import PROMPTS

    monkeypatch.chdir(tmp_path)
    before = dict(PROMPTS)
    Image.fromarray(data.chelsea()).save("cat.jpg", quality=95)
    make_trace(image=data.chelsea()).save("cat.trace.safetensors")
    space: dict[str, Any] = {"__name__": "docs"}
    try:
        for block in blocks(page):
            if block.needs.startswith("from="):
                assert quotes(block)
                continue
            assert block.needs in NEEDS, f"{page}:{block.line}"
            code = compile("\n" * block.line + block.code, str(page), "exec")
            if not block.needs:
                exec(code, space)  # noqa: S102 - our own pages
    finally:
        PROMPTS.clear()
        PROMPTS.update(before)


def commands() -> list[tuple[str, str]]:
    """Every command line of README and docs, comments and unknown parts left out."""
    found = []
    for page in PAGES:
        for line in COMMAND.findall(page.read_text(encoding="utf-8")):
            plain = re.split(r" {2,}#| +# ", line)[0].strip()
            found.append((str(page.relative_to(ROOT)), plain))
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_have_these_options(page: str, line: str) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    name, *words = shlex.split(line)[1:]
    command = group.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None, f"{page}: {line}"
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for word in words:
        if word.startswith("-") and word != "--":
            assert word.partition("=")[0] in known | {"--help"}, f"{page}: {line}"


ROW = re.compile(r"^\| .+ \| (.+) \| \[\w+\]\((docs/\w+\.md)[^)]*\) \|$", re.MULTILINE)
NUMBER = re.compile(r"[\d.]+ (?:\[[^\]]+\]|%|times faster)|\d+ of \d+ cases")


def test_numbers_of_the_readme_stand_on_the_pages_that_it_names() -> None:
    """Where the command that measured them stands too."""
    rows = ROW.findall((ROOT / "README.md").read_text())
    assert len(rows) >= 3
    for numbers, page in rows:
        text = (ROOT / page).read_text()
        assert "<!-- measured: python -m benchmarks" in text
        assert NUMBER.findall(numbers)
        for number in NUMBER.findall(numbers):
            assert number in text, (page, number)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_no_page_names_a_machine(page: Path) -> None:
    assert not re.search(r"/work/|/root/|/home/\w", page.read_text(encoding="utf-8"))
