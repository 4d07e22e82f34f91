"""The rules of the house (ARCHITECTURE.md), checked on the imports of every module, wherever they stand in it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "daemon"

LAYERS = {
    # values and decisions
    "core": """piperd errors job jobfields jobfile formats results text decoding markup settle scheduler captions
        status spoken cues linebreaks wordtimes typography names ignore script strictjson writing
        alignment fielderrors folderdefaults rewriting pieces reading lexicon numerals figures units
        english addresses eviction showings nameset""",
    # the one way to write files, the one to go where others may write, and what machine this is
    "ground": """durable descent mounts machine""",
    # one outside thing each
    "room": """inbox ledger store outbox voices engine control""",
    # puts the parts together, and speaks with the world around
    "outside": """service parts turn reception desk delivery gate claims courier intake folders lexicons tasks announce
        housekeeping listings submission checks audit
        settings staffing options manual logs systemd cli display testing""",
}
LAYER = {name: layer for layer, names in LAYERS.items() for name in names.split()}
MAY_IMPORT = {
    "core": {"core"},
    "ground": {"core", "ground"},
    "room": {"core", "ground"},
    "outside": {"core", "ground", "room", "outside"},
}
# A core module that imports one of these could do I/O, read a clock, start a thread or say something by itself.
NOT_IN_CORE = """os io time threading multiprocessing asyncio concurrent socket subprocess signal shutil tempfile
    sqlite3 random secrets logging structlog warnings platformdirs watchdog rich typer"""
MODEL = frozenset({"piper", "onnxruntime", "onnx"})
MODEL_USERS = frozenset({f"piperd.engine.{name}" for name in ("speech", "tuner", "graph", "widening", "blocking")})
SOUND = frozenset({"numpy", "scipy", "soundfile", "soxr", "pyloudnorm"})
SOUND_USERS = MODEL_USERS | {
    f"piperd.engine.{name}" for name in ("render", "encode", "loudness", "limiter", "stretches")
}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50


@dataclass(frozen=True)
class Import:
    """That one module names another."""

    module: str
    line: int
    names: frozenset[str]
    """What it takes from there."""
    for_types: bool
    """It stands under TYPE_CHECKING, so nothing is loaded."""


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def root(self) -> str:
        """The part of the house: `engine` for `piperd.engine.pool`."""
        return self.name.split(".")[1] if "." in self.name else self.name

    @property
    def layer(self) -> str:
        return LAYER[self.root]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def read(path: Path) -> Module:
    text = path.read_text()
    return Module(name_of(path), path, ast.parse(text, str(path)), len(text.splitlines()))


MODULES = [read(path) for path in sorted(SOURCE.rglob("*.py"))]
KNOWN = {module.name for module in MODULES}
each_module = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


def imports(module: Module) -> list[Import]:
    """All imports of a module, also those inside functions and those for types only."""
    typed = {
        id(inner)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, frozenset(), id(node) in typed) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += from_import(module, node, for_types=id(node) in typed)
    return found


def from_import(module: Module, node: ast.ImportFrom, *, for_types: bool) -> list[Import]:
    """`from piperd import inbox` names the module `piperd.inbox`, `from piperd.job import Job` names `piperd.job`."""
    base = node.module or ""
    if node.level:
        package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
        parts = package.split(".")
        base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
    submodules = [alias.name for alias in node.names if f"{base}.{alias.name}" in KNOWN]
    found = [Import(f"{base}.{name}", node.lineno, frozenset(), for_types) for name in submodules]
    if names := frozenset(alias.name for alias in node.names) - set(submodules):
        found.append(Import(base, node.lineno, names, for_types))
    return found


def where(module: Module, found: Import) -> str:
    return f"{module.path.relative_to(SOURCE.parent)}:{found.line} imports {found.module}"


@each_module
def test_every_module_has_its_place(module: Module) -> None:
    """A module that is in no layer can't be held to any rule."""
    assert module.root in LAYER, (
        f"{module.name} is in no layer: add {module.root!r} to LAYERS in {Path(__file__).name}. Core if it decides "
        "without I/O, a room if it stands for one outside thing, else outside."
    )


@each_module
def test_layers(module: Module) -> None:
    """Core imports core; rooms import core and `durable`, never each other; only what is outside knows all."""
    allowed = MAY_IMPORT[module.layer]
    for found in imports(module):
        parts = found.module.split(".")
        if parts[0] != "piperd":
            continue
        root = parts[1] if len(parts) > 1 else parts[0]
        if root == module.root:
            continue
        layer = LAYER.get(root, "no layer")
        assert layer in allowed, (
            f"{where(module, found)}, but {module.name} ({module.layer}) may import only "
            f"{' and '.join(sorted(allowed))}, and {root} is {layer}. Pass the value or the function in from outside."
        )


@each_module
def test_core_does_nothing_by_itself(module: Module) -> None:
    """Core has no means to touch disk, clock, threads or network. For types, `Path` is a name like any other."""
    if module.layer != "core":
        return
    for found in imports(module):
        if found.for_types:
            continue
        top = found.module.split(".")[0]
        assert top not in NOT_IN_CORE.split(), (
            f"{where(module, found)}, but a core module does no I/O, reads no clock and starts no thread: let the "
            "caller do that and pass the value."
        )
        assert top != "pathlib" or found.names <= {"PurePath", "PurePosixPath"}, (
            f"{where(module, found)}: at run time core may use PurePath only; put Path under TYPE_CHECKING."
        )


@each_module
def test_only_workers_load_the_model_and_the_sound_libraries(module: Module) -> None:
    """The daemon's own process never loads them: they are imported where only a worker comes."""
    for found in imports(module):
        top = found.module.split(".")[0]
        assert top not in MODEL or module.name in MODEL_USERS, (
            f"{where(module, found)}; only {', '.join(sorted(MODEL_USERS))} may."
        )
        assert top not in SOUND or module.name in SOUND_USERS, (
            f"{where(module, found)}; only {', '.join(sorted(SOUND_USERS))} may."
        )


@each_module
def test_sizes(module: Module) -> None:
    """A module can be read in one go, a function at one glance."""
    assert module.lines < MAX_MODULE_LINES, (
        f"{module.name} has {module.lines} lines; {MAX_MODULE_LINES - 1} are the limit. What second thing does it own?"
    )
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines < MAX_FUNCTION_LINES, (
                f"{module.name}.{node.name} (line {node.lineno}) has {lines} lines; {MAX_FUNCTION_LINES - 1} are the "
                "limit. Give a step of it a name."
            )


@each_module
def test_a_module_says_what_it_owns(module: Module) -> None:
    """The first thing in a module is a sentence on what it is for."""
    assert ast.get_docstring(module.tree), f"{module.name} has no docstring"


def test_the_source_root_is_no_package() -> None:
    """The plain name `daemon` belongs to another distribution."""
    assert not (SOURCE / "__init__.py").exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b", [("a.b", False)]),
        ("from piperd import store, __version__", [("piperd.store", False), ("piperd", False)]),
        ("def f():\n  from piperd.job import Job", [("piperd.job", False)]),
        ("if TYPE_CHECKING:\n  from piperd.ledger import Ledger", [("piperd.ledger", True)]),
        ("from . import job", [("piperd.job", False)]),
        ("from .ledger import Ledger", [("piperd.ledger", False)]),
    ],
)
def test_no_import_escapes(source: str, expected: list[tuple[str, bool]]) -> None:
    """Each way to write an import is seen."""
    module = Module("piperd.made_up", Path("piperd/made_up.py"), ast.parse(source), 1)
    assert [(found.module, found.for_types) for found in imports(module)] == expected
