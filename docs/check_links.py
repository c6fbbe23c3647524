"""Check the built pages: nothing is loaded from a network, and every internal link and anchor is there.

`python docs/check_links.py build/docs` prints what is wrong, and exits with 1 if anything is.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",), "track": ("src",),
}  # fmt: skip
"""Attributes of which a browser loads the address by itself."""
LINKS_LOADED = {
    "stylesheet",
    "icon",
    "shortcut",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
}
REMOTE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
IN_CSS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", re.IGNORECASE)


class Page(HTMLParser):
    """What a page loads, links to, and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note the addresses of one element."""
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.loads += [given[name] for name in LOADS.get(tag, ()) if name in given]
        if tag == "link" and LINKS_LOADED & set(given.get("rel", "").lower().split()):
            self.loads.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loads += css_loads(given.get("style", ""))
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        """Note what a style sheet inside the page loads."""
        if self._style:
            self.loads += css_loads(data)
            self._style = False


def css_loads(text: str) -> list[str]:
    """Return the addresses that a style sheet loads."""
    return [a or b for a, b in IN_CSS.findall(text)]


def problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with the pages and style sheets of a folder, a line each."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    for path, page in pages.items():
        for address in page.loads:
            yield from _load(root, path, address)
        for address in page.links:
            yield from _link(root, path, address, pages)
    for path in sorted(root.rglob("*.css")):
        for address in css_loads(path.read_text(encoding="utf-8")):
            yield from _load(root, path.resolve(), address)


def _load(root: Path, path: Path, address: str) -> Iterator[str]:
    if REMOTE.match(address):
        yield f"{path.relative_to(root.resolve())}: loads {address}"
    elif address and not address.startswith(("data:", "#", "about:")):
        target = path.parent / unquote(urlsplit(address).path)
        if not target.exists():
            yield f"{path.relative_to(root.resolve())}: loads {address}, which is not there"


def _link(root: Path, path: Path, address: str, pages: dict[Path, Page]) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    where = f"{path.relative_to(root.resolve())}: links to {address}"
    if not target.exists():
        yield f"{where}, which is not there"
    elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        yield f"{where}, a page without that anchor"


def main(folder: str) -> int:
    """Print the problems; return the exit code: 1 if there is any."""
    root, found = Path(folder), defaultdict(int)
    for line in problems(root):
        print(line)
        found[line] += 1
    print(f"{len(list(root.rglob('*.html')))} pages, {len(found)} problems")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
