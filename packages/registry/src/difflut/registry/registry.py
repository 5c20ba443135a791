"""A registry maps names to the components of one kind."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from difflut.registry.discovery import import_components

Component = TypeVar("Component", bound=Callable[..., Any])


class UnknownComponentError(KeyError):
    """A name that no component of its kind has."""

    def __str__(self) -> str:
        return str(self.args[0])


class Registry(Mapping[str, Any]):
    """The components of one kind by name, in the order in which they were registered.

    A look-up first imports every installed package that announces components, so nothing has to be imported for its
    side effects. As a `Mapping` a registry can be iterated, tested with `in`, and given to `pytest.mark.parametrize`.

    Args:
        kind: One word for a component, such as `node`.
        plural: The word for several, where it is not `kind` and an s.
    """

    def __init__(self, kind: str, plural: str | None = None) -> None:
        self.kind = kind
        self.plural = plural or f"{kind}s"
        self._components: dict[str, Callable[..., Any]] = {}
        self._followers: list[Callable[[str, Callable[..., Any]], None]] = []

    def register(self, name: str, *, replace: bool = False) -> Callable[[Component], Component]:
        """A decorator that enters a class or function under `name` and returns it unchanged.

        Raises:
            ValueError: The name is no identifier, or it is taken by another component and `replace` is false.
        """
        if not name.isidentifier():
            raise ValueError(f"{self.kind} {name!r}: a name consists of letters, digits and underscores")

        def enter(component: Component) -> Component:
            taken = self._components.get(name)
            if taken is not None and not replace and not _same_definition(taken, component):
                raise ValueError(
                    f"{self.kind} {name!r} is already registered as {_path(taken)}; choose another name for "
                    f"{_path(component)}, or replace it on purpose with replace=True"
                )
            self._components[name] = component
            for follower in self._followers:
                follower(name, component)
            return component

        return enter

    def follow(self, follower: Callable[[str, Callable[..., Any]], None]) -> None:
        """Calls a function with the name and component of all that is registered, now and later."""
        for name, component in list(self.items()):
            follower(name, component)
        self._followers.append(follower)

    def names(self) -> list[str]:
        """The registered names."""
        return list(self)

    def name_of(self, component: Callable[..., Any]) -> str:
        """The name under which a component is registered; one that a decorator has wrapped has the same name.

        Raises:
            UnknownComponentError: The component is not registered.
        """
        for name, registered in self.items():
            if registered is inspect.unwrap(component):
                return name
        raise UnknownComponentError(
            f"{_path(component)} is not a registered {self.kind}; register it with @register_{self.kind}('name')"
        )

    def __getitem__(self, name: str) -> Any:
        import_components()
        if name in self._components:
            return self._components[name]
        raise UnknownComponentError(f"no {self.kind} is called {name!r}; {closest(name, self._components)}")

    def __iter__(self) -> Iterator[str]:
        import_components()
        return iter(self._components)

    def __len__(self) -> int:
        import_components()
        return len(self._components)


def closest(name: object, known: Iterable[str]) -> str:
    """A hint for an unknown name: the known names that are spelled like it, or else all of them."""
    known = list(known)
    return similar(name, known) or f"known: {', '.join(known)}"


def similar(name: object, known: Iterable[str]) -> str:
    """A hint for an unknown name: the known names that are spelled like it; empty if there is none."""
    close = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.4)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def _path(component: Callable[..., Any]) -> str:
    return f"{component.__module__}.{component.__qualname__}"


def _same_definition(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    # A module that is reloaded, or a notebook cell that is run again, defines the same component once more.
    return _path(old) == _path(new)
