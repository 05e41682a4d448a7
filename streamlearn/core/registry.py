"""Components by name: `strategy: {name: er}` in YAML finds the class that registered as "er".

A component is a class with a nested `Config` (frozen, unknown keys refused) and a constructor that takes it first. Its
own settings lie in its family's file, which needs no torch; the component itself is loaded when it is made. So whoever
only reads a configuration starts at once:

    strategies = Registry("strategy", {"er": Own("streamlearn.learning.strategies.er:ER")})
    strategies.config(ComponentSpec(name="er"))   # loads nothing
    strategies.build(ComponentSpec(name="er"))    # loads the class

Packages add their own through an entry point of the group `streamlearn.<family>`, or by `register`:

    [project.entry-points."streamlearn.strategy"]
    mine = "my_package:MyStrategy"
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from streamlearn.core.errors import ConfigError


class Config(BaseModel):
    """The base of every part of the configuration: frozen, unknown keys refused, numbers finite, defaults checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class ComponentSpec(BaseModel):
    """A component as configuration names it: `{name: er, ...its own settings}`, or just `er`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @property
    def settings(self) -> dict[str, Any]:
        """The component's own settings, to be checked by its `Config`."""
        return dict(self.model_extra or {})


class Nothing(Config):
    """Nothing to set."""


class Own(NamedTuple):
    """A component of ours that need not be loaded to be known.

    `place` is its module and its name there; `facts` are attributes of the class that a configuration is checked by.
    """

    place: str
    config: type[Config] = Nothing
    facts: Mapping[str, Any] = MappingProxyType({})


C = TypeVar("C", bound=type)
T = TypeVar("T")


class Registry(Generic[T]):
    """One family of components, by name.

    Args:
        family: the family's name as configuration and messages call it, such as "strategy".
        own: our components, by name.
    """

    def __init__(self, family: str, own: Mapping[str, Own] = MappingProxyType({})) -> None:
        self.family = family
        self._own = dict(own)
        self._classes: dict[str, Any] = {}  # that were loaded, or that others registered
        self._points: dict[str, EntryPoint] | None = None  # of other packages; None: not looked for yet

    def register(self, name: str) -> Callable[[C], C]:
        """Register the decorated class under `name`."""

        def add(cls: C) -> C:
            assert name not in {*self._own, *self._classes}, f"{self.family} {name!r} is registered twice"
            self._classes[name] = cls
            return cls

        return add

    @contextmanager
    def registered(self, name: str, cls: type) -> Iterator[None]:
        """Register a class under `name` for a while: for tests, whose registries nobody else should see."""
        self.register(name)(cls)
        try:
            yield
        finally:
            del self._classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own, *self._classes, *self._others()}))

    def cls(self, name: str) -> Any:  # noqa: ANN401 - a family's own constructor signature
        """Return the class registered as `name`; one of ours is loaded now.

        Raises:
            ConfigError: no such component; names the nearest one.
        """
        self._find(name)
        if name not in self._classes:
            self._classes[name] = self._loaded(name)
        return self._classes[name]

    def settings(self, name: str) -> type[Config]:
        """Return the class of a component's own settings.

        Raises:
            ConfigError: no such component.
        """
        self._find(name)
        found: type[Config] = self._own[name].config if name in self._own else self.cls(name).Config
        return found

    def fact(self, name: str, attribute: str) -> Any:  # noqa: ANN401 - whatever the class says
        """Return an attribute of the component's class, without loading it where the family's file tells it.

        Raises:
            ConfigError: no such component.
        """
        self._find(name)
        own = self._own.get(name)
        return own.facts[attribute] if own and attribute in own.facts else getattr(self.cls(name), attribute)

    def config(self, spec: ComponentSpec) -> Config:
        """Return the component's settings, checked.

        Raises:
            ConfigError: no such component.
            pydantic.ValidationError: a setting is wrong or unknown.
        """
        return self.settings(spec.name).model_validate(spec.settings)

    def build(self, spec: ComponentSpec, *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - see cls
        """Make the component that `spec` names: `cls(config, *args, **kwargs)`."""
        component: T = self.cls(spec.name)(self.config(spec), *args, **kwargs)
        return component

    def _find(self, name: str) -> None:
        if name not in {*self._own, *self._classes, *self._others()}:
            near = get_close_matches(name, list(self), 1)
            raise ConfigError(
                f"there is no {self.family} named {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                where=f"{self.family}.name",
                mend=f"choose one of: {', '.join(self)}",
            )

    def _loaded(self, name: str) -> Any:  # noqa: ANN401 - see cls
        if name in self._own:
            module, _, attribute = self._own[name].place.partition(":")
            return getattr(import_module(module), attribute)
        point = self._others()[name]
        try:
            found = point.load()
            found.Config.model_fields  # noqa: B018 - it has settings, as a component has
        except Exception as error:  # whatever another package throws when it is imported
            raise ConfigError(
                f"{name!r} cannot be loaded: {type(error).__name__}: {error}",
                where=f"the entry point {point.value} of {self.family}",
                mend="mend or remove the package that brings it, or choose another component",
            ) from error
        return found

    def _others(self) -> dict[str, EntryPoint]:
        """Return the components of other packages, by name; each is loaded when it is asked for. Ours come first."""
        if self._points is None:
            found = entry_points(group=f"streamlearn.{self.family}")
            self._points = {point.name: point for point in reversed(found) if point.name not in self._own}
        return self._points
