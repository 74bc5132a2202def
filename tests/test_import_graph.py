"""Imports run one way: no circles, nothing above the command line, and no room reaches into one that uses it.

The graph is read from the source with ``ast``. An import within a function counts like any other; one that only a type
checker sees does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("benchmarks", "searchers", "verifiers")
"""Folders beside ``colasearch`` that are its sub-packages once installed."""
Graph = Mapping[str, set[str]]

FORBIDDEN = {
    "searchers": ("torch", "transformers", "colasearch.model", "colasearch.engine", "colasearch.storage"),
    "verifiers": ("torch", "transformers", "colasearch.model", "colasearch.engine", "colasearch.training"),
    "storage": ("torch", "transformers", "colasearch.model", "colasearch.engine"),
    "environments": ("torch", "transformers", "colasearch.model", "colasearch.engine", "colasearch.agents"),
    "benchmarks.data_sets": ("torch", "colasearch.model", "colasearch.engine", "colasearch.benchmarks.harness"),
}
"""What the modules below each prefix must not import."""

ROOMS = (
    *("errors", "disk", "interrupts", "printable", "problem", "wording", "userfile"),
    *("storage", "searchers", "verifiers", "environments", "rows", "model", "rewards", "tasks"),
    *("engine.settings", "engine.vllm", "defaults", "engine.memory", "engine.forward", "engine.decoding"),
    *("engine.texts", "engine.prompt", "engine.trees"),
    *("engine.verdict", "engine.record", "engine.plan", "engine.scheduler", "agents"),
    *("training.generated", "training.running", "training.data", "training.base", "training.latent_actions"),
    *("training.reinforcement", "training.from_search", "training.values", "training.speed", "training.trained"),
    "training.preference",
    *("benchmarks.names", "benchmarks.data_sets", "benchmarks.harness", "benchmarks.episodes"),
    *("whole_texts", "text_scheduler", "solving", "serve"),
    *("cluster", "benchmarks.measurements"),
    *("report", "experiments.running", "experiments.recipes", "experiments.reports"),
    *("experiments.countdown_run", "experiments.iterate_run", "experiments.adapt_run", "experiments.preference_run"),
    "experiments.agents_run",
    "cli",
)
"""From the ground up: a room imports itself and rooms that stand before it here."""


def module_files(root: Path) -> dict[str, Path]:
    """Files of the source tree by module name; of a package its ``__init__.py``."""
    found = {}
    for top in ("colasearch", *MAPPED):
        for path in (root / top).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts if top == "colasearch" else ("colasearch", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph(root: Path) -> dict[str, set[str]]:
    """What each module imports: modules of the tree by full name, others by the name of the import."""
    files = module_files(root)
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for module, member in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            inner = f"{module}.{member}"
            graph[name].add(inner if inner in files else module)
        graph[name].discard(name)
    return graph


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, "") for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"line {child.lineno}: relative imports are not followed here; write the whole name"
            yield from ((child.module or "", alias.name) for alias in child.names)
        yield from _imports(child)


def circle(graph: Graph) -> list[str]:
    """Modules that import each other round, the first again at the end; empty where there are none."""
    try:
        TopologicalSorter({name: graph[name] & graph.keys() for name in graph}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def within(module: str, *prefixes: str) -> bool:
    """Whether ``module`` is one of ``prefixes`` or below it."""
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def room_of(module: str) -> str | None:
    """The room that ``module`` is in; None for a package's own file above the rooms."""
    return next((room for room in ROOMS if within(module, f"colasearch.{room}")), None)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph(ROOT)


def test_no_module_imports_itself_round_about(graph):
    assert circle(graph) == []


def test_only_the_command_line_imports_the_command_line(graph):
    found = {
        (name, module)
        for name, modules in graph.items()
        for module in modules
        if within(module, "colasearch.cli") and not within(name, "colasearch.cli", "colasearch.__main__")
    }
    assert found == set()


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_do_not_know_what_they_must_not_know(graph, room):
    members = [name for name in graph if within(name, f"colasearch.{room}")]
    assert members, "the room has moved; say where"
    found = {(name, module) for name in members for module in graph[name] if within(module, *FORBIDDEN[room])}
    assert found == set()


def test_every_module_is_in_a_room(graph):
    packages = {name for name, path in module_files(ROOT).items() if path.name == "__init__.py"}
    outside = {name for name in graph if room_of(name) is None}
    assert outside <= {*packages, "colasearch.__main__"}, "put the module into a room, or name a new room in ROOMS"


def test_each_room_imports_only_rooms_below_it(graph):
    found = {
        (name, module)
        for name, modules in graph.items()
        for module in modules
        if (mine := room_of(name)) and (other := room_of(module)) and ROOMS.index(other) > ROOMS.index(mine)
    }
    assert found == set()


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_an_import_within_a_function_closes_a_circle(tmp_path):
    root = write(
        tmp_path,
        colasearch__a="from colasearch.b import x\n",
        colasearch__b="def f():\n    if f:\n        from colasearch import a\n",
    )
    assert set(circle(import_graph(root))) == {"colasearch.a", "colasearch.b"}


def test_an_import_for_types_alone_does_not(tmp_path):
    root = write(
        tmp_path,
        colasearch__a="from colasearch.searchers.b import x\n",
        searchers__b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from colasearch.a import y\n",
    )
    graph = import_graph(root)
    assert graph["colasearch.a"] == {"colasearch.searchers.b"}
    assert circle(graph) == []
