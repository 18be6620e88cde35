"""The API reference as MyST Markdown, read from the syntax of every module: nothing is imported."""

import ast
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from io import StringIO
from itertools import chain
from pathlib import Path
from tokenize import COMMENT, generate_tokens

from prose import blocks, plain

LEFT_OUT = {"cli", "__main__"}  # the reference of `cli` is the page of commands
Link = Callable[[str], str | None]  # a name in a text -> the full name of what it means, where that is known


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
        """By name: classes and functions without an underscore, and fields and constants that say what they are."""
        named = [(name_of(node), node) for node in body]
        return {
            name: node for name, node in named if name and not name.startswith("_") and self._speaks(node)
        }

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
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return targets[0].id if isinstance(targets[0], ast.Name) else ""


def write_api(package: Path, out: Path) -> None:
    """Write a page for each part of the package, a folder or a single module, and `index.md` that lists them."""
    modules = [_module(package, path) for path in sorted(package.rglob("*.py"))]
    known = {name for module in modules for name in module.names}
    out.mkdir(parents=True)
    parts = sorted({m.name.split(".")[1] for m in modules if "." in m.name} - LEFT_OUT)
    lines = []
    for part in parts:
        own = [m for m in modules if f"{m.name}.".startswith(f"{package.name}.{part}.")]
        sections = [_section(m, known, "#" if k == 0 else "##") for k, m in enumerate(own)]
        (out / f"{part}.md").write_text("\n\n".join(sections) + "\n", "utf-8")
        about = (ast.get_docstring(own[0].tree) or "").split("\n\n")[0]
        lines.append(f"- [**{part}**]({part}.md): {plain(about)}")
    listed = "\n".join(f"{part} <{part}>" for part in parts)
    (out / "index.md").write_text(
        "# API reference\n\nOne page for each part of `bdgan_lib`, from its docstrings. Shapes are `[B, C, H, W]`; "
        "`BdganError` is a `ValueError` whose one line says what came, what was wanted and what to do next.\n\n"
        + "\n".join(lines)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
        "utf-8",
    )


def _module(package: Path, path: Path) -> Module:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return Module(".".join(parts).removesuffix(".__init__"), path.read_text("utf-8"))


def _section(module: Module, known: Collection[str], heading: str) -> str:
    """A module: its docstring, and all that is public in it in the order of the file."""
    lines = [f"{heading} {module.name.partition('.')[2]}", "", f"```{{py:module}} {module.name}", "```", ""]
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
        kind, signature, options = _function(node, name, owner, link)
        text = blocks(node, _parameters(node), link)
    elif isinstance(node, ast.ClassDef):
        kind, signature, options = "class", name + _construction(node, link), []
        start = next((n for n in node.body if name_of(n) == "__init__"), None)
        told = blocks(node, _parameters(start) if isinstance(start, ast.FunctionDef) else (), link)
        text = chain(_bases(node, link), told)
    else:
        kind, signature, options = ("attribute" if owner else "data"), name, _type_and_value(node, link)
        text = iter([plain(module.comment(node), link)])
    yield from ("", f"{fence}{{py:{kind}}} {signature}", *options, "", *text)
    if isinstance(node, ast.ClassDef):
        for member, inner in module.public(node.body).items():
            yield from _definition(module, known, member, inner, name)
    yield fence


def _function(node: ast.FunctionDef, name: str, owner: str, link: Link) -> tuple[str, str, list[str]]:
    """(kind, signature, options) of a function, a method or a property."""
    decorators = {ast.unparse(d).rpartition(".")[2] for d in node.decorator_list}
    returns = node.returns and _written(node.returns, link)
    if decorators & {"property", "cached_property"}:
        return "property", name, [f":type: {returns}"] if returns else []
    flags = {
        "classmethod": ":classmethod:",
        "staticmethod": ":staticmethod:",
        "abstractmethod": ":abstractmethod:",
    }
    options = [flags[d] for d in sorted(decorators & set(flags))]
    bound = bool(owner) and "staticmethod" not in decorators
    arrow = f" -> {returns}" if returns else ""
    return "method" if owner else "function", f"{name}({_arguments(node, link, bound)}){arrow}", options


def _bases(node: ast.ClassDef, link: Link) -> Iterator[str]:
    """A line that names the classes of this library that it is one of."""
    if found := [f"`{ast.unparse(base)}`" for base in node.bases if link(ast.unparse(base))]:
        yield f"*Is a* {plain(', '.join(found), link)}."


def _construction(node: ast.ClassDef, link: Link) -> str:
    """The arguments a class is made with; of data classes and their like the fields below say it."""
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return f"({_arguments(inner, link, bound=True)})"
    return ""


def _arguments(node: ast.FunctionDef, link: Link, bound: bool) -> str:
    arguments = ast.parse(ast.unparse(node)).body[0].args  # type: ignore[attr-defined]  # a copy, to be changed
    if bound:
        first = arguments.posonlyargs or arguments.args
        del first[0]
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg) and argument.annotation:
            argument.annotation = ast.Name(_written(argument.annotation, link))
    return ast.unparse(arguments)


def _parameters(node: ast.FunctionDef) -> list[str]:
    return [a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)]


def _type_and_value(node: ast.stmt, link: Link) -> list[str]:
    """Options of a field or a constant; a long value is left to the source."""
    options = [f":type: {_written(node.annotation, link)}"] if isinstance(node, ast.AnnAssign) else []
    value = ast.unparse(node.value) if isinstance(node, ast.Assign | ast.AnnAssign) and node.value else ""
    return options + ([f":value: {value}"] if 0 < len(value) <= 80 else [])


def _written(annotation: ast.expr, link: Link) -> str:
    """A type, with the names of this library in full: Sphinx shows them short and links them."""

    class InFull(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Name:
            return ast.Name(link(node.id) or node.id)

        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            quoted = isinstance(node.value, str) and node.value.isidentifier() and node.value[0].isupper()
            return self.visit_Name(ast.Name(node.value)) if quoted else node

    return ast.unparse(InFull().visit(ast.parse(ast.unparse(annotation), mode="eval")))


def _full(module: Module, known: Collection[str], owner: str, name: str) -> str | None:
    """The full name of what a name means inside a class, if any, of a module."""
    first, dot, rest = name.removesuffix("()").partition(".")
    for start in (f"{module.name}.{owner}.{first}", f"{module.name}.{first}", module.imported.get(first, "")):
        if start + dot + rest in known:
            return start + dot + rest
    return None
