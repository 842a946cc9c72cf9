"""Which error codes the product can raise or write: everything that is given to something called a code.

A code is looked for where it is given, not by how it looks: as `code=` or `error_code=`, as the argument or the field of that name, as
what is assigned to such a name, as the type of a failure of Temporal's. From there it is followed to the text: through names,
constants, conditions, tables and what functions return. What leads to no text is an error of its own, so that nothing is passed over.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.architecture.source import Module, dotted

NAMES = frozenset({"code", "error_code"})
PASSED_ON = frozenset({*NAMES, "failed_code", "last_error_code"})
"""Attributes and parameters of these names hold a code that was found where it was given."""
LOOKS_LIKE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
IN_SQL = re.compile(r"'([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)'")
ERRORS = frozenset({"AppError", "ApplicationError"})
FAILURES_OF_TEMPORAL = frozenset({"ApplicationError", "super.__init__"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, order=True)
class Use:
    code: str
    at: str
    """`path:line`."""

    @property
    def path(self) -> str:
        return self.at.rpartition(":")[0]


@dataclass
class Found:
    """`unclear`: places that are given what leads to no text, as `path:line expression`."""

    uses: set[Use] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)


Valued = tuple[Module, ast.expr]
"""An expression, and the module that it stands in."""


@dataclass
class _Known:
    """What names stand for in all the modules together: a name of one is not told from the same of another."""

    constants: dict[str, list[Valued]] = field(default_factory=lambda: defaultdict(list))
    members: dict[str, list[Valued]] = field(default_factory=lambda: defaultdict(list))
    """By `Class.NAME`."""
    functions: dict[str, list[tuple[Module, Function]]] = field(default_factory=lambda: defaultdict(list))
    parameters: dict[str, list[list[str]]] = field(default_factory=lambda: defaultdict(list))
    """Of functions and constructors, in order."""
    of_methods: dict[str, list[list[str]]] = field(default_factory=lambda: defaultdict(list))
    """The same without `self`. Of which class a method is called is not known here: another's may have the same name."""
    bases: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def is_error(self, name: str) -> bool:
        return name in ERRORS or any(self.is_error(base) for base in self.bases.get(name, ()))


@dataclass(frozen=True)
class _Place:
    """Where a value is, and who is told of it. `is_sure`: it is given to a code, and not to what is only called like that."""

    module: Module
    scope: Function | None
    known: _Known
    found: Found
    is_sure: bool
    root: str
    part: int | None = None
    """Which one of a tuple it is."""
    seen: dict[tuple[int, int | None], ast.expr] = field(default_factory=dict)
    """What ends circles."""


def codes_in(modules: Iterable[Module], *, elsewhere: Collection[str] = ()) -> Found:
    """`elsewhere`: modules, and callables, whose `code` is of another vocabulary."""
    everything = list(modules)
    known, found = _known(everything), Found()
    for module in everything:
        if module.path not in elsewhere:
            for scope, given, is_sure in _given(module, known, elsewhere):
                _follow(given, _Place(module, scope, known, found, is_sure, root=module.at(given)))
    return found


def codes_in_sql(files: Mapping[str, str], *, others: Collection[str]) -> set[Use]:
    """Texts of functions of the database that look like codes, but for those of other vocabularies. By path, the text."""
    return {
        Use(match[1], f"{path}:{text.count(chr(10), 0, match.start()) + 1}")
        for path, text in files.items()
        for match in IN_SQL.finditer(text)
        if match[1] not in others
    }


def _known(modules: Iterable[Module]) -> _Known:
    known = _Known()
    for module in modules:
        for statement in module.tree.body:
            for name, value in _assigned(statement):
                known.constants[name].append((module, value))
        of_classes = set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                of_classes |= {id(one) for one in node.body}
                _know_class(known, module, node)
            elif isinstance(node, Function):
                known.functions[node.name].append((module, node))
                names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
                if id(node) not in of_classes:
                    known.parameters[_private(module, node.name)].append(names)
                elif node.name != "__init__":
                    known.of_methods[_private(module, node.name)].append(names[names[:1] in (["self"], ["cls"]) :])
    return known


def _private(module: Module, name: str) -> str:
    """A name that only its own module uses is told from the same of another."""
    return f"{module.path} {name}" if name.startswith("_") else name


def _know_class(known: _Known, module: Module, node: ast.ClassDef) -> None:
    known.bases[node.name] |= {dotted(base).rpartition(".")[2] for base in node.bases}
    fields = []
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            fields.append(statement.target.id)
        elif isinstance(statement, Function) and statement.name == "__init__":
            fields = [one.arg for one in statement.args.args[1:]]
        for name, value in _assigned(statement):
            known.members[f"{node.name}.{name}"].append((module, value))
    known.parameters[_private(module, node.name)].append(fields)


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of an assignment, also to an attribute of this name; `a, b = x, y` are two."""
    if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        yield node.target.id, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _pairs(target, node.value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name | ast.Attribute):
        yield target.id if isinstance(target, ast.Name) else target.attr, value
    elif isinstance(target, ast.Tuple):
        for position, one in enumerate(target.elts):
            for part in _parts(value, position):
                yield from _pairs(one, part)


def _parts(value: ast.expr, position: int) -> Iterator[ast.expr]:
    """What stands at this place of a tuple, in either branch of a condition."""
    if isinstance(value, ast.IfExp):
        yield from _parts(value.body, position)
        yield from _parts(value.orelse, position)
    elif isinstance(value, ast.Tuple):
        yield value.elts[position]
    else:
        yield ast.copy_location(ast.Subscript(value, ast.Constant(position), ast.Load()), value)


def _given(
    module: Module, known: _Known, elsewhere: Collection[str]
) -> Iterator[tuple[Function | None, ast.expr, bool]]:
    """Whatever is given to a code, the function in which it is, and whether that is sure."""
    for scope, node in _scoped(module.tree, None):
        if isinstance(node, ast.Call):
            if _called(node).rpartition(".")[2] not in elsewhere:
                yield from ((scope, value, is_sure) for value, is_sure in _arguments(module, node, known))
        elif isinstance(node, ast.ClassDef):
            if known.is_error(node.name):
                assigned = (pair for statement in node.body for pair in _assigned(statement))
                yield from ((None, value, True) for name, value in assigned if name == "code")
        elif scope is None or scope.name in elsewhere:
            continue
        elif isinstance(node, ast.stmt):
            yield from ((scope, value, True) for name, value in _assigned(node) if name in NAMES)
        elif isinstance(node, ast.Dict):
            keys = (key.value if isinstance(key, ast.Constant) else None for key in node.keys)
            yield from ((scope, value, True) for key, value in zip(keys, node.values, strict=True) if key in NAMES)


def _arguments(module: Module, call: ast.Call, known: _Known) -> Iterator[tuple[ast.expr, bool]]:
    name = _called(call)
    callee, is_of_temporal = _private(module, name.rpartition(".")[2]), name in FAILURES_OF_TEMPORAL
    functions = () if name.startswith("self.") else known.parameters.get(callee, ())
    for keyword in call.keywords:
        if keyword.arg in NAMES or (is_of_temporal and keyword.arg == "type"):
            yield keyword.value, True
    for parameters in functions:
        yield from ((value, True) for value, of in zip(call.args, parameters, strict=False) if of in NAMES)
    for parameters in known.of_methods.get(callee, ()):
        yield from ((value, False) for value, of in zip(call.args, parameters, strict=False) if of in NAMES)


def _called(call: ast.Call) -> str:
    """`super.__init__` of `super().__init__(...)`."""
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        return f"{dotted(call.func.value.func)}.{call.func.attr}"
    return dotted(call.func)


def _scoped(node: ast.AST, scope: Function | None) -> Iterator[tuple[Function | None, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield scope, child
        yield from _scoped(child, child if isinstance(child, Function) else scope)


def _follow(value: ast.expr, place: _Place) -> None:
    """To the texts that it may be."""
    if (id(value), place.part) in place.seen:
        return
    place.seen[id(value), place.part] = value
    match value:
        case ast.Constant(value=text):
            if isinstance(text, str) and LOOKS_LIKE.fullmatch(text):
                place.found.uses.add(Use(text, place.module.at(value)))
        case ast.Attribute():
            _attribute(value, place)
        case ast.Name(id=name):
            _name(value, name, place)
        case ast.Call():
            _call(value, place)
        case ast.Subscript(value=inner, slice=ast.Constant(value=int(part))):
            _follow(inner, replace(place, part=part))
        case ast.Tuple(elts=elements) if place.part is not None:
            _follow(elements[place.part], replace(place, part=None))
        case _:
            within = list(_within(value))
            _all(within, place)
            if not within:
                _unclear(value, place)


def _within(value: ast.expr) -> Iterator[ast.expr]:
    """What it is one of."""
    match value:
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.BoolOp(values=values) | ast.Dict(values=values):
            yield from values
        case ast.Await(value=inner) | ast.Subscript(value=inner):
            yield inner


def _all(values: Iterable[ast.expr], place: _Place) -> None:
    for one in values:
        _follow(one, place)


def _all_of(valued: Iterable[Valued], place: _Place) -> None:
    for module, one in valued:
        _follow(one, replace(place, module=module, scope=None))


def _unclear(value: ast.expr, place: _Place) -> None:
    if place.is_sure:
        place.found.unclear.add(f"{place.root} {ast.unparse(value)}")


def _attribute(value: ast.Attribute, place: _Place) -> None:
    """`Class.code` and `Enumeration.MEMBER` are followed; what an object has as its code was given to it elsewhere."""
    members = place.known.members.get(".".join(dotted(value).split(".")[-2:]))
    if members is not None:
        _all_of(members, place)
    elif value.attr == "value":  # of a member
        _follow(value.value, place)
    elif value.attr not in PASSED_ON:
        _unclear(value, place)


def _name(value: ast.Name, name: str, place: _Place) -> None:
    if place.scope is not None:
        statements = (node for node in ast.walk(place.scope) if isinstance(node, ast.stmt))
        local = [one for statement in statements for of, one in _assigned(statement) if of == name]
        if local:
            _all(local, place)
            return
        arguments = place.scope.args
        if name in PASSED_ON and name in {one.arg for one in (*arguments.args, *arguments.kwonlyargs)}:
            return  # what callers give it is found where they do
    if name in place.known.constants:
        _all_of(place.known.constants[name], place)
    else:
        _unclear(value, place)


def _call(value: ast.Call, place: _Place) -> None:
    """What a function returns, and what a table is asked for."""
    last = _called(value).rpartition(".")[2]
    if last == "str":
        _all(value.args, place)
    elif last == "get" and isinstance(value.func, ast.Attribute):
        _all((value.func.value, *value.args[1:]), place)
    elif last in place.known.functions:
        for module, function in place.known.functions[last]:
            inside = replace(place, module=module, scope=function)
            returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return))
            _all((one for one in returned if one is not None), inside)
    else:
        _unclear(value, place)
