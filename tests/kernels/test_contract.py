import inspect

import pytest

from difflut.kernels import cpp, cuda, reference
from difflut.kernels.contract import Backend

OPERATIONS = [name for name, member in vars(Backend).items() if inspect.isfunction(member) and name[0] != "_"]


@pytest.mark.parametrize("backend", [reference, cpp, cuda], ids=lambda backend: backend.name)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_back_end_has_every_operation_with_its_arguments(operation, backend):
    promised = inspect.signature(getattr(Backend, operation)).parameters
    found = inspect.signature(getattr(backend, operation)).parameters
    assert list(found) == list(promised)[1:]
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in found.values())
