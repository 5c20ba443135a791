import subprocess
import sys

import pytest

import difflut.registry
from difflut.registry import KINDS, REGISTRY, Configured, Registry, UnknownComponentError

GUIDE_NAMES = {
    "node": "linear_lut polylut neurallut dwn dwn_stable probabilistic fourier hybrid difflogic warp light",
    "layer": "random learnable",
    "encoder": "thermometer gaussian_thermometer distributive_thermometer gray onehot binary sign_magnitude "
    "logarithmic",
    "initializer": "zeros ones normal uniform xavier_uniform xavier_normal kaiming_uniform kaiming_normal "
    "residual variance_stabilized",
    "regularizer": "l l1 l2 spectral walsh fourier functional",
}


@pytest.mark.parametrize("kind", GUIDE_NAMES)
def test_every_published_name_is_found_and_listed(kind):
    names = GUIDE_NAMES[kind].split()
    listed = getattr(REGISTRY, f"list_{kind}s")()
    assert set(names) <= set(listed)
    assert listed == getattr(difflut.registry, f"get_registered_{kind}s")()
    for name in names:
        assert callable(getattr(REGISTRY, f"get_{kind}")(name))


@pytest.mark.parametrize("registry", KINDS, ids=lambda registry: registry.kind)
def test_every_kind_is_registered_reached_and_listed_by_the_same_names(registry):
    assert getattr(REGISTRY, f"list_{registry.plural}")() == list(registry)
    assert getattr(difflut.registry, f"register_{registry.kind}") == registry.register
    assert getattr(REGISTRY, f"register_{registry.kind}") == registry.register
    for name, component in registry.items():
        assert getattr(REGISTRY, f"get_{registry.kind}")(name) is component
    with pytest.raises(UnknownComponentError, match=f"no {registry.kind} is called 'nowhere'"):
        getattr(REGISTRY, f"get_{registry.kind}")("nowhere")


@pytest.mark.parametrize("kind", ["node", "layer", "encoder"])
def test_classes_are_reached_by_function_and_by_object(kind):
    name = GUIDE_NAMES[kind].split()[0]
    assert getattr(difflut.registry, f"get_{kind}_class")(name) is getattr(REGISTRY, f"get_{kind}")(name)


def test_components_are_found_without_importing_their_packages():
    code = "from difflut.registry import get_node_class; print(get_node_class('dwn').__module__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "difflut.nodes.dwn"


def test_an_unknown_name_gets_the_closest_ones():
    with pytest.raises(UnknownComponentError, match="no node is called 'dnw'; did you mean 'dwn'"):
        REGISTRY.get_node("dnw")
    with pytest.raises(UnknownComponentError, match=r"no layer is called 'zzz'; known: .*random"):
        REGISTRY.get_layer("zzz")


def test_a_taken_name_is_refused_unless_replaced_on_purpose():
    things = Registry("thing")
    first, second = lambda: 1, lambda: 2
    second.__qualname__ = "second"
    things.register("name")(first)
    with pytest.raises(ValueError, match=r"thing 'name' is already registered as .*lambda.*replace=True"):
        things.register("name")(second)
    assert things["name"] is first
    things.register("name", replace=True)(second)
    assert things["name"] is second
    assert things.name_of(second) == "name"
    with pytest.raises(UnknownComponentError, match="not a registered thing"):
        things.name_of(first)


@pytest.mark.parametrize("name", ["my-node", "2", "", "nodes.mine"])
def test_a_name_that_no_gin_file_can_say_is_refused(name):
    with pytest.raises(ValueError, match=f"thing {name!r}: a name consists of letters, digits and underscores"):
        Registry("thing").register(name)


def test_who_follows_a_registry_hears_of_what_is_there_and_what_comes():
    things, heard = Registry("thing"), {}
    things.register("first")(len)
    things.follow(heard.__setitem__)
    things.register("second")(sum)
    assert heard == {"first": len, "second": sum}
    things.register("first", replace=True)(min)
    assert heard["first"] is min


def test_options_handed_on_become_part_of_the_signature():
    class Base(Configured):
        def __init__(self, size: int, *, scale: float = 1.0) -> None:
            self.size, self.scale = size, scale

    class Special(Base):
        def __init__(self, size: int, extra: str = "x", **options) -> None:
            super().__init__(size, **options)
            self.extra = extra

    assert Special(2, scale=3.0).get_params() == {"size": 2, "extra": "x", "scale": 3.0}
    with pytest.raises(TypeError, match="scael"):
        Special(2, scael=3.0)
