"""Measure the structure of the code: `python -m benchmarks.house [CHECKOUT...]` prints a column for each.

Functions and files entered in one recurrence step (named functions of the package, by the profiler, on a tiny
random CLIP with the `reference/voc` stages), files that declare a setting, names defined twice, flat modules,
lines, and the share of public functions and classes that take parameters whose docstrings describe them, and
have an example. (scikit-image's own share, counted so over its public modules: 96 % and 58 %.)
"""

import ast
import io
import os
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("stages", "recurrence", "trace", "widgets", "figures")
"""Where docstrings have sections of parameters, and examples."""
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
STEP = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import torch
from pathlib import Path
from skimage import data
import carlab

torch.set_num_threads(1)  # the profiler sees one thread: nothing may be drawn in another

try:  # a checkout whose random CLIPs are not in the package
    import benchmarks.random_clip
except ImportError:
    pass
home = str(Path(carlab.__file__).parent)
clip = "random:tiny/16"
try:
    model = carlab.load("reference/voc", proposer_backbone=clip, classifier=clip)
except TypeError:  # a checkout in which `proposer` named the network
    model = carlab.load("reference/voc", proposer=clip, classifier=clip)
image, queries = data.chelsea(), ["cat", "dog", "sofa"]
try:
    from carlab.photo import Photo
    from carlab.recurrence import Run, embed

    run = Run(model, Photo.of(image), queries)

    def step():
        run.draw()
        embed([run], model.batch)
        run.judge()
except ImportError:  # before runs had a class
    from carlab.turns import encode

    turns = model.prepare(image, queries)._step(np.arange(3), 0)

    def step():
        answer = None
        while True:
            try:
                answer = encode(*turns.send(answer), model.batch)
            except StopIteration:
                return

entered = set()

def watch(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(home) and "<" not in code.co_name:
        entered.add((code.co_filename, code.co_qualname))

sys.setprofile(watch)
step()
sys.setprofile(None)
print(len(entered), len({file for file, _ in entered}))
"""


def modules(checkout: Path) -> dict[Path, ast.Module]:
    """Return every module of the package, parsed."""
    home = checkout / "carlab"
    return {path.relative_to(home): ast.parse(path.read_text()) for path in sorted(home.rglob("*.py"))}


def step(checkout: Path) -> str:
    """Return functions and files entered in one step."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", STEP],
        env=environment,
        cwd=checkout,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    functions, files = done.stdout.split()
    return f"{functions} in {files}"


def declares(tree: ast.Module, name: str) -> bool:
    """Return whether a module declares a setting: a field, an argument, an option, or a row of the table."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == name:
            return True
        if isinstance(node, ast.arg) and node.arg == name:
            return True
        if isinstance(node, ast.Assign) and name in {
            getattr(leaf, "id", getattr(leaf, "attr", "")) for t in node.targets for leaf in ast.walk(t)
        }:
            return True
        if isinstance(node, ast.Dict) and name in {getattr(key, "value", "") for key in node.keys}:
            return True
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Setting":
            return any(getattr(argument, "value", "") == name for argument in node.args)
    return False


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines at its top level, but for dunder names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (
                leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)
            )


def names_twice(trees: dict[Path, ast.Module]) -> dict[str, set[Path]]:
    """Return the top-level names that are defined in two files or more."""
    places: dict[str, set[Path]] = defaultdict(set)
    for path, tree in trees.items():
        for name in defined(tree):
            if not name.startswith("__"):
                places[name].add(path)
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def docstrings(trees: dict[Path, ast.Module]) -> list[str]:
    """Return the docstrings of the public functions and classes in `ROOMS` that take parameters."""
    return [
        ast.get_docstring(node) or ""
        for path, tree in trees.items()
        if path.parts[0].removesuffix(".py") in ROOMS
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if takes_parameters(node)
    ]


def takes_parameters(node: ast.AST) -> bool:
    """Return whether a function has arguments, or a class fields or an `__init__` of its own with some."""
    if isinstance(node, ast.FunctionDef):
        given = [*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        return any(one is not None and one.arg != "self" for one in given)
    return isinstance(node, ast.ClassDef) and any(
        isinstance(part, ast.AnnAssign) and "ClassVar" not in ast.unparse(part.annotation)
        if not isinstance(part, ast.FunctionDef)
        else part.name == "__init__" and takes_parameters(part)
        for part in node.body
    )


def code_lines(text: str) -> int:
    """Return how many lines of a module hold code: no blank line, comment or docstring."""
    tree, code = ast.parse(text), set[int]()
    texts = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - texts)


def flat(trees: dict[Path, ast.Module]) -> int:
    """Return how many modules lie at the top of the package."""
    return sum(len(path.parts) == 1 and path.name != "__init__.py" for path in trees)


def figures(checkout: Path) -> dict[str, str]:
    """Return every figure of a checkout by name."""
    trees = modules(checkout)
    texts = docstrings(trees)

    def share(*marks: str) -> str:
        return f"{100 * sum(any(mark in text for mark in marks) for text in texts) / len(texts):.0f} %"

    sources = [(checkout / "carlab" / path).read_text() for path in trees]
    return {
        "functions and files entered in one step": step(checkout),
        "files that declare theta": str(sum(declares(tree, "theta") for tree in trees.values())),
        "top-level names defined twice": str(len(names_twice(trees))),
        "flat modules": str(flat(trees)),
        "lines of the package": f"{sum(len(text.splitlines()) for text in sources):,}",
        "of which code": f"{sum(map(code_lines, sources)):,}",
        f"public docstrings in {', '.join(ROOMS)} with parameters": share("Parameters\n", "Attributes\n"),
        "the same with an example": share(">>> "),
    }


def main(*checkouts: str) -> None:
    """Print a Markdown table with a column for each checkout."""
    columns = [figures(Path(checkout).resolve()) for checkout in checkouts or (str(ROOT),)]
    print("| figure |" + "".join(f" {checkout} |" for checkout in checkouts or ("this checkout",)))
    print("|---|" + "---:|" * len(columns))
    for name in columns[0]:
        print(f"| {name} |" + "".join(f" {column[name]} |" for column in columns))


if __name__ == "__main__":
    main(*sys.argv[1:])
