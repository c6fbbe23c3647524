"""The pages: they build without a warning, load nothing from a network, and no link leads nowhere."""

import os
import re
import subprocess
import sys
import zlib
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
NO_REFERENCE = ("carlab.cli", "carlab.data", "carlab.__main__")
"""Rooms whose names are not for Python: the commands have --help."""


def checker() -> ModuleType:
    spec = spec_from_file_location("check_links", ROOT / "docs" / "check_links.py")
    assert spec is not None and spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("<script src='https://cdn.example/x.js'></script>", "loads https://cdn.example/x.js"),
        ("<link rel=stylesheet href='//fonts.example/a.css'>", "loads //fonts.example/a.css"),
        ("<style>@import 'http://a.example/b.css';</style>", "loads http://a.example/b.css"),
        ("<p style='background: url(http://a.example/c.png)'>", "loads http://a.example/c.png"),
        ("<img src=gone.png>", "loads gone.png, which is not there"),
        ("<a href='gone.html'>x</a>", "links to gone.html, which is not there"),
        ("<a href='other.html#gone'>x</a>", "a page without that anchor"),
        ("<a href='#gone'>x</a>", "a page without that anchor"),
        ("<a href='other.html#here'>x</a><a href='https://example.org'>y</a><a href='sub/'>z</a>", ""),
        ("<link rel=canonical href='https://example.org/'><img src='data:image/png;base64,AAAA'>", ""),
    ],
)
def test_the_checker_finds(text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(text)
    (tmp_path / "other.html").write_text("<h1 id=here>x</h1>")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("")
    found = list(checker().problems(tmp_path))
    assert len(found) == bool(wrong)
    assert all(wrong in line for line in found)


def test_the_checker_reads_style_sheets(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url('https://fonts.example/a.woff2') }")
    assert list(checker().problems(tmp_path)) == ["a.css: loads https://fonts.example/a.woff2"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, as `make docs` built them, or built here, with a proxy that nobody serves as network."""
    if "CARLAB_DOCS" in os.environ:
        return Path(os.environ["CARLAB_DOCS"]).resolve()
    for needed in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(needed, reason='pip install "clip-as-rnn-lab[docs]"')
    out = tmp_path_factory.mktemp("docs")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", "-d", out / "trees"]
    made = subprocess.run(
        [*command, ".", out / "html"], cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr[-6000:]
    return out / "html"


@pytest.mark.docs
def test_nothing_is_loaded_and_no_link_is_broken(built: Path) -> None:
    assert list(checker().problems(built)) == []


@pytest.mark.docs
def test_every_public_name_has_its_place(built: Path) -> None:
    """Every public function and class of every module, by Sphinx's own inventory."""
    raw = (built / "objects.inv").read_bytes().split(b"\n", 4)[4]
    known = {line.split(" ", 1)[0] for line in zlib.decompress(raw).decode().splitlines()}
    missing = []
    for path in sorted((ROOT / "carlab").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name.startswith(NO_REFERENCE):
            continue
        module = import_module(name)
        for key, value in vars(module).items():
            public = not key.startswith("_") and getattr(value, "__module__", None) == name
            if public and callable(value) and getattr(value, "__name__", "") == key:
                missing += [] if f"{name}.{key}" in known else [f"{name}.{key}"]
    assert not missing


@pytest.mark.docs
def test_the_tutorial_shows_pictures_and_formulas_are_drawn(built: Path) -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        page = (built / "notebooks" / f"{path.stem}.html").read_text()
        assert len(re.findall(r"<img [^>]*_images/", page)) >= 2, path.name
    method = (built / "docs" / "method.html").read_text()
    assert method.count("<math ") > 5
    assert not re.search(r"<script[^>]*mathjax", method, re.IGNORECASE)
    assert "<iframe" in (built / "docs" / "widgets.html").read_text()
    assert (built / "_static" / "player.html").stat().st_size > 50_000
