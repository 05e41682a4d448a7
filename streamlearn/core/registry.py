"""Components by name: `strategy: {name: er}` in YAML finds the class that registered as "er".

A component is a class with a nested `Config` (frozen, unknown keys refused) and a constructor that takes it first.
Packages add their own through an entry point of the group `streamlearn.<family>`:

    [project.entry-points."streamlearn.strategy"]
    mine = "my_package:MyStrategy"
"""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from streamlearn.core.errors import ConfigError


class Config(BaseModel):
    """The base of every part of the configuration: frozen, unknown keys refused, defaults checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


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


C = TypeVar("C", bound=type)
T = TypeVar("T")


class Registry(Generic[T]):
    """One family of components, by name.

    Args:
        family: the family's name as configuration and messages call it, such as "strategy".
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._classes: dict[str, Any] = {}
        self._entry_points_read = False

    def register(self, name: str) -> Callable[[C], C]:
        """Register the decorated class under `name`."""

        def add(cls: C) -> C:
            assert name not in self._classes, f"{self.family} {name!r} is registered twice"
            self._classes[name] = cls
            return cls

        return add

    def __iter__(self) -> Iterator[str]:
        self._read_entry_points()
        return iter(sorted(self._classes))

    def cls(self, name: str) -> Any:  # noqa: ANN401 - a family's own constructor signature
        """Return the class registered as `name`.

        Raises:
            ConfigError: no such component; names the nearest one.
        """
        self._read_entry_points()
        if name not in self._classes:
            near = get_close_matches(name, self._classes, 1)
            known = ", ".join(sorted(self._classes))
            raise ConfigError(
                f"there is no {self.family} named {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                where=f"{self.family}.name",
                mend=f"choose one of: {known}",
            )
        return self._classes[name]

    def config(self, spec: ComponentSpec) -> Config:
        """Return the component's settings, checked.

        Raises:
            ConfigError: no such component.
            pydantic.ValidationError: a setting is wrong or unknown.
        """
        config: Config = self.cls(spec.name).Config.model_validate(spec.settings)
        return config

    def build(self, spec: ComponentSpec, *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - see cls
        """Make the component that `spec` names: `cls(config, *args, **kwargs)`."""
        component: T = self.cls(spec.name)(self.config(spec), *args, **kwargs)
        return component

    def _read_entry_points(self) -> None:
        if not self._entry_points_read:
            self._entry_points_read = True
            for point in entry_points(group=f"streamlearn.{self.family}"):
                self._classes.setdefault(point.name, point.load())
