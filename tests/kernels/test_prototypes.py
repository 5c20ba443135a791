"""What Python declares of each compiled function and structure, beside the sources."""

import ctypes
import re
from types import SimpleNamespace

import pytest

from difflut.circuits.engine import cpu, cuda, levels
from difflut.kernels import adam, jit
from difflut.kernels.cpp import calling
from difflut.kernels.cuda import launching
from difflut.kernels.sources import source

LIBRARIES = {"cpp": calling, "cuda": launching, "engine": cpu, "engine_cuda": cuda, "engine_levels": levels}
STRUCTURES = [
    ("engine.h", "Plan", cpu.Plan),
    ("engine_network.cuh", "Network", cuda.Network),
    ("engine_levels.cu", "Levels", levels._Levels),
]


class Library(dict):
    """Keeps what is declared of each function, as a compiled library does."""

    def __getattr__(self, name):
        return self.setdefault(name, SimpleNamespace(argtypes=None, restype=ctypes.c_int))


def kind_in_c(text):
    """A letter for a type: pointer, integer, double or nothing."""
    if "*" in text or "cudaStream_t" in text:
        return "p"
    return {"int64_t": "i", "double": "d", "void": "-", "int": "int"}[text.removeprefix("const ").split()[0]]


def kind_in_python(declared):
    if declared is None:
        return "-"
    kinds = {ctypes.c_int64: "i", ctypes.c_double: "d", ctypes.c_int: "int", ctypes.c_void_p: "p"}
    return "p" if issubclass(declared, ctypes._Pointer) else kinds[declared]


def prototypes(text):
    """For each `extern "C"` function the letters of its result and arguments."""
    found = {}
    for block in re.findall(r'^extern "C" \{\n(.*?)^\}  // extern "C"', text, re.MULTILINE | re.DOTALL):
        code = re.sub(r"//.*", "", block)
        for result, name, arguments in re.findall(r"^(\w+\*? )(\w+)\(([^)]*)\)\s*\{", code, re.MULTILINE):
            found[name] = kind_in_c(result), "".join(kind_in_c(" ".join(part.split())) for part in arguments.split(","))
        assert len(found) >= len(re.findall(r"^\w+\*? difflut_", code, re.MULTILINE))
    return found


@pytest.mark.parametrize("name", LIBRARIES)
def test_each_compiled_function_has_the_arguments_that_python_declares(name, monkeypatch):
    library, sources = Library(), []

    def load(name, files, flags):
        sources.extend(files)
        return library

    monkeypatch.setattr(jit, "load", load)
    LIBRARIES[name].library.__wrapped__()
    written = {}
    for file in sources:
        written |= prototypes(source(file))
    assert written and library.keys() == written.keys()
    for function, declared in library.items():
        result, arguments = written[function]
        assert "".join(map(kind_in_python, declared.argtypes)) == arguments, function
        # A result that is left out is taken for an int, which nobody reads.
        assert kind_in_python(declared.restype) == result or (result, declared.restype) == ("-", ctypes.c_int), function


@pytest.mark.parametrize("file, name, structure", STRUCTURES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_structure_has_the_fields_that_python_declares(file, name, structure):
    (body,) = re.findall(rf"^struct {name} {{\n(.*?)^}};", source(file), re.MULTILINE | re.DOTALL)
    fields = []
    for kind, names in re.findall(r"([\w ]+\*?) (\w+(?:, \w+)*);", re.sub(r"//.*", "", body)):
        fields += [(field, kind.strip()) for field in names.split(", ")]
    assert len(fields) == len(structure._fields_)
    for (field, kind), (known, declared) in zip(fields, structure._fields_, strict=True):
        assert field.endswith(known), f"{name}.{field} stands where {known} is declared"
        assert (
            declared.__name__ == kind
            if issubclass(declared, ctypes.Structure)
            else kind_in_c(kind) == (kind_in_python(declared))
        )


def test_adam_gives_a_kernel_as_many_tensors_as_it_takes():
    assert re.findall(r"kMostTensors = (\d+);", source("adam.cu")) == [str(adam.MOST_TENSORS)]
