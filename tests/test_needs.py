import re
from pathlib import Path

import pytest

from tests import conftest

TESTS = Path(__file__).parent


@pytest.fixture
def item(request, monkeypatch):
    """A test that needs a tool which is missing."""
    monkeypatch.setitem(conftest.NEEDS, "nothing", (lambda: None, "Nothing: apt install nothing"))
    request.node.add_marker(pytest.mark.needs("cc", "nothing"))
    return request.node


def test_what_is_missing_skips_a_test_and_fails_it_in_ci(item, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs Nothing: apt install nothing"):
        conftest.pytest_runtest_setup(item)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs Nothing: apt install nothing"):
        conftest.pytest_runtest_setup(item)


def test_no_machine_must_have_a_gpu(item, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(conftest, "HARDWARE", {"nothing"})
    with pytest.raises(pytest.skip.Exception):
        conftest.pytest_runtest_setup(item)


def test_no_test_skips_by_itself_for_want_of_a_tool():
    sources = {path: path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__)}
    assert not [
        path for path, text in sources.items() if re.search(r"importorskip|skipif\(not .*(which|available)\(", text)
    ]
    named = {name for text in sources.values() for call in re.findall(r"mark\.needs\((.*?)\)", text)
             for name in re.findall(r'"(.*?)"', call)}  # fmt: skip
    assert named <= conftest.NEEDS.keys()
