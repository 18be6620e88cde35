"""The API reference as MyST Markdown, read from the syntax of every module: nothing is imported."""

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from tokenize import COMMENT, generate_tokens

from prose import Link, blocks, overview, plain

LEFT_OUT = {"cli", "__main__"}  # the reference of `cli` is the page of commands


@dataclass(frozen=True)
class Module:
    """A module's syntax, its public definitions, and what its names mean."""

    name: str  # "bdgan_lib.heads.base"
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def _comments(self) -> dict[int, str]:
        tokens = generate_tokens(StringIO(self.source).readline)
        return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == COMMENT}

    def comment(self, node: ast.stmt) -> str:
        """The comment behind a statement; orders to linters are none."""
        found = self._comments.get(node.end_lineno or 0, "")
        return "" if re.match(r"(fmt|noqa|type):", found) else found

    def public(self, body: list[ast.stmt]) -> dict[str, ast.stmt]:
        """By name, without those in _: classes, functions, typed fields, constants with a comment."""
        named = {name_of(node): node for node in body if self._speaks(node)}
        return {name: node for name, node in named.items() if name and not name.startswith("_")}

    def _speaks(self, node: ast.stmt) -> bool:
        return isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AnnAssign) or bool(self.comment(node))

    @cached_property
    def names(self) -> set[str]:
        """Full names of all that is public in it."""
        found = set()
        for name, node in self.public(self.tree.body).items():
            inner = self.public(node.body) if isinstance(node, ast.ClassDef) else {}
            found |= {f"{self.name}.{name}", *(f"{self.name}.{name}.{member}" for member in inner)}
        return found

    @cached_property
    def imported(self) -> dict[str, str]:
        """Name -> full name, of what it imports by name."""
        return {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }


def name_of(node: ast.stmt) -> str:
    """What a statement defines: a class, a function or one name; "" if it defines something else."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def write_api(package: Path, out: Path) -> None:
    """Write a page for each part of the package, a folder or a single module, and `index.md`, their list."""
    modules = [_module(package, path) for path in sorted(package.rglob("*.py"))]
    known = {name for module in modules for name in module.names}
    out.mkdir(parents=True)
    parts = sorted({m.name.split(".")[1] for m in modules if "." in m.name} - LEFT_OUT)
    items = []
    for part in parts:
        own = [m for m in modules if f"{m.name}.".startswith(f"{package.name}.{part}.")]
        sections = [_section(m, known, "#" if k == 0 else "##") for k, m in enumerate(own)]
        (out / f"{part}.md").write_text("\n\n".join(sections) + "\n", "utf-8")
        about = (ast.get_docstring(own[0].tree) or "").split("\n\n")[0]
        items.append(f"[**{part}**]({part}.md): {plain(about)}")
    text = (
        "A page for each part of `bdgan_lib`, from its docstrings. B, C, H, W in shapes are batch, channels, "
        "height and width; a `BdganError` is a `ValueError` whose line says what came, what was wanted and "
        "what to do next."
    )
    names = [f"{part} <{part}>" for part in parts]
    (out / "index.md").write_text(overview("API reference", text, items, names), "utf-8")


def _module(package: Path, path: Path) -> Module:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return Module(".".join(parts).removesuffix(".__init__"), path.read_text("utf-8"))


def _section(module: Module, known: Collection[str], heading: str) -> str:
    """A module: its docstring, and all that is public in it in the order of the file."""
    lines = [f"{heading} {module.name.partition('.')[2]}", "", f"```{{py:module}} {module.name}", "```"]
    lines += blocks(module.tree, (), partial(_full, module, known, ""))
    for name, node in module.public(module.tree.body).items():
        lines += _definition(module, known, name, node, "")
    return "\n".join(lines)


def _definition(
    module: Module, known: Collection[str], name: str, node: ast.stmt, owner: str
) -> Iterator[str]:
    """A definition as a directive of Sphinx's Python domain; a class holds its members."""
    link = partial(_full, module, known, owner or (name if isinstance(node, ast.ClassDef) else ""))
    fence = ":::" if owner else "::::"
    if isinstance(node, ast.FunctionDef):
        yield from ("", *_function(fence, node, owner, link), *blocks(node, _parameters(node), link))
    elif isinstance(node, ast.ClassDef):
        start = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        # of data classes the fields say it
        taken = f"({_arguments(start, link, bound=True)})" if start else ""
        yield from ("", f"{fence}{{py:class}} {name}{taken}", *_bases(node, link))
        yield from blocks(node, _parameters(start) if start else (), link)
        for member, inner in module.public(node.body).items():
            yield from _definition(module, known, member, inner, name)
    else:
        yield from ("", f"{fence}{{py:{'attribute' if owner else 'data'}}} {name}", *_value(node, link))
        yield from ("", plain(module.comment(node), link))
    yield fence


def _function(fence: str, node: ast.FunctionDef, owner: str, link: Link) -> Iterator[str]:
    """The first lines of the directive of a function, a method or a property."""
    decorators = {ast.unparse(d).rpartition(".")[2] for d in node.decorator_list}
    returns = _written(node.returns, link) if node.returns else ""
    if decorators & {"property", "cached_property"}:
        yield from (f"{fence}{{py:property}} {node.name}", f":type: {returns}")
        return
    arguments = _arguments(node, link, bound=bool(owner) and "staticmethod" not in decorators)
    arrow = f" -> {returns}" if returns else ""
    yield f"{fence}{{py:{'method' if owner else 'function'}}} {node.name}({arguments}){arrow}"
    yield from (f":{d}:" for d in sorted(decorators & {"abstractmethod", "classmethod", "staticmethod"}))


def _bases(node: ast.ClassDef, link: Link) -> Iterator[str]:
    """A line that names the classes of this library that it is one of."""
    if found := [f"`{ast.unparse(base)}`" for base in node.bases if link(ast.unparse(base))]:
        yield from ("", f"*Is a* {plain(', '.join(found), link)}.")


def _arguments(node: ast.FunctionDef, link: Link, bound: bool) -> str:
    """The arguments with their types and defaults; bound: without the first one."""
    (copy,) = ast.parse(ast.unparse(node)).body
    arguments = copy.args  # type: ignore[attr-defined]
    if bound:
        del (arguments.posonlyargs or arguments.args)[0]
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg) and argument.annotation:
            argument.annotation = ast.Name(_written(argument.annotation, link))
    return ast.unparse(arguments)


def _parameters(node: ast.FunctionDef) -> list[str]:
    return [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)]


def _value(node: ast.stmt, link: Link) -> Iterator[str]:
    """Type and value of a field or a constant; a long value is left to the source."""
    assert isinstance(node, ast.Assign | ast.AnnAssign)
    if isinstance(node, ast.AnnAssign):
        yield f":type: {_written(node.annotation, link)}"
    if node.value and len(value := ast.unparse(node.value)) <= 80:
        yield f":value: {value}"


def _written(annotation: ast.expr, link: Link) -> str:
    """A type, with the names of this library in full: Sphinx shows them short and links them."""

    class InFull(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Name:
            return ast.Name(link(node.id) or node.id)

        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            return self.visit_Name(ast.Name(node.value)) if isinstance(node.value, str) else node

    return ast.unparse(InFull().visit(ast.parse(ast.unparse(annotation), mode="eval")))


def _full(module: Module, known: Collection[str], owner: str, name: str) -> str | None:
    """The full name of what a name means inside a class, if any, of a module."""
    first, dot, rest = name.removesuffix("()").partition(".")
    for start in (f"{module.name}.{owner}.{first}", f"{module.name}.{first}", module.imported.get(first, "")):
        if start + dot + rest in known:
            return start + dot + rest
    return None
