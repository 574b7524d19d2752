#!/usr/bin/env python3
"""
Makes ``plugins/agent_operators.py`` from the package: all its modules in one file, in the order in which they need each
other. With ``--check`` it writes nothing, and fails if the file is not what it would write.

The modules are put together as text, so that the comments stay. That needs three things of them, all checked: they
import each other only by ``from airflow_provider_sluice.x import name``, no two of them define the same name, and no
string but a docstring spans lines (everything is indented).
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tokenize
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "airflow_provider_sluice"
TARGET = ROOT / "plugins" / "agent_operators.py"
#: Only the package has these: Airflow reads them of what is installed.
LEFT_OUT = ("__init__", "provider_info")

HEADER = '''\
"""
The Airflow client of Sluice, {version}, as one file: put it into Airflow's plugins folder, beside an empty __init__.py.
It needs nothing that Airflow does not bring. Where the package {distribution} is installed, this file is only
another name for that.

Made by clients/airflow/script/build_single_file.py from the package: change that, not this.
"""

# ruff: noqa

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("{package}") is not None:
    from {package}.public import (
{names}
    )
else:
'''

PLUGIN = '''\
from airflow.plugins_manager import AirflowPlugin


class AgentOperatorsPlugin(AirflowPlugin):
    """Airflow 2 shows a link only if it knows its class; the package says so in its provider info."""

    name = "agent_operators"
    operator_extra_links = [AgentJobLink()]
'''

FOOTER = """
__all__ = [
{names}
]
"""


class Unfit(Exception):
    """A module cannot be put into the file; the message says why."""


@dataclass
class Module:
    name: str
    needs: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    defines: set[str] = field(default_factory=set)
    heading: str = ""
    body: str = ""


def build() -> str:
    modules = {path.stem: read_module(path) for path in sorted((ROOT / "src" / PACKAGE).glob("*.py"))}
    ordered = in_order({name: module for name, module in modules.items() if name not in LEFT_OUT})
    refuse_same_names(ordered)
    # What only a type checker needs is imported all the same: other modules need it for real.
    sections = [merged_imports([line for module in ordered for line in module.imports])]
    sections += [f"{module.heading}\n\n{module.body}" for module in ordered if module.body.strip()]
    sections.append(PLUGIN)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    public = public_names(ROOT / "src" / PACKAGE / "public.py")
    header = HEADER.format(
        version=project["version"],
        distribution=project["name"],
        package=PACKAGE,
        names="\n".join(f"        {name}," for name in public),
    )
    footer = FOOTER.format(names="\n".join(f'    "{name}",' for name in public))
    body = "\n\n".join(section.strip() + "\n" for section in sections)
    return header + textwrap.indent(re.sub(r"\n{4,}", "\n\n\n", body), "    ") + footer


def read_module(path: Path) -> Module:
    source = path.read_text()
    tree = ast.parse(source)
    refuse_long_strings(path.name, source, tree)
    module = Module(path.stem, heading=heading(path.stem, ast.get_docstring(tree) or ""))
    lines = source.splitlines()
    kept: list[str] = []
    end = 0
    for node in tree.body:
        start = node.lineno - 1
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.decorator_list:
            start = node.decorator_list[0].lineno - 1
        between, end = lines[end:start], node.end_lineno or start
        if is_docstring(node) or sort_import(module, node, source):
            continue
        if isinstance(node, ast.Assign) and names_of(node) == {"__all__"}:
            continue
        module.defines |= names_of(node)
        # Comments and blank lines before a definition are its own.
        kept += between + lines[start:end]
    module.body = "\n".join(kept)
    return module


def sort_import(module: Module, node: ast.stmt, source: str) -> bool:
    """:returns: whether the statement is nothing but imports, which the file has at its top"""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        module.imports += [ast.unparse(statement) for statement in node.body]
        return True
    if isinstance(node, ast.Import):
        if any(alias.name.startswith(PACKAGE) for alias in node.names):
            raise Unfit(f"{module.name}: only `from {PACKAGE}.x import name` can be resolved")
        module.imports.append(ast.unparse(node))
        return True
    if isinstance(node, ast.ImportFrom):
        if node.level or node.module == PACKAGE or any(alias.asname for alias in node.names if in_package(node)):
            raise Unfit(f"{module.name}: only `from {PACKAGE}.x import name` can be resolved")
        if in_package(node):
            module.needs.append((node.module or "").removeprefix(f"{PACKAGE}."))
        elif node.module != "__future__":
            module.imports.append(ast.unparse(node))
        return True
    return False


def in_package(node: ast.ImportFrom) -> bool:
    return (node.module or "").startswith(f"{PACKAGE}.")


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def heading(name: str, docstring: str) -> str:
    lines = [f"{name}: {docstring.splitlines()[0]}" if docstring else name, *docstring.splitlines()[1:]]
    return "\n".join(f"# {line}".rstrip() for line in lines)


def in_order(modules: dict[str, Module]) -> list[Module]:
    """Each after all that it needs."""
    ordered: list[Module] = []

    def add(module: Module) -> None:
        if module in ordered:
            return
        for need in module.needs:
            add(modules[need])
        ordered.append(module)

    for name in sorted(modules):
        add(modules[name])
    return ordered


def refuse_same_names(modules: list[Module]) -> None:
    seen: dict[str, str] = {}
    for module in modules:
        for name in sorted(module.defines):
            if name in seen:
                raise Unfit(f"{module.name} and {seen[name]} both define {name}")
            seen[name] = module.name


def refuse_long_strings(name: str, source: str, tree: ast.Module) -> None:
    docstrings = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt) and is_docstring(node)}
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.STRING and token.start[0] != token.end[0] and token.start[0] not in docstrings:
            raise Unfit(f"{name}:{token.start[0]}: a string that spans lines would be indented")


def merged_imports(statements: list[str]) -> str:
    """One statement for each module."""
    plain: set[str] = set()
    names: dict[str, set[str]] = {}
    for statement in statements:
        node = ast.parse(statement).body[0]
        if isinstance(node, ast.ImportFrom):
            names.setdefault(node.module or "", set()).update(ast.unparse(alias) for alias in node.names)
        else:
            plain.add(statement)
    froms = [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]
    return "\n".join([*sorted(plain), *froms])


def public_names(path: Path) -> list[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and names_of(node) == {"__all__"}:
            return list(ast.literal_eval(node.value))
    raise Unfit(f"{path.name} has no __all__")


def main(arguments: list[str]) -> int:
    built = build()
    compile(built, str(TARGET), "exec")
    if arguments == ["--check"]:
        if TARGET.exists() and TARGET.read_text() == built:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is not up to date: run script/build_single_file.py", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(built)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
