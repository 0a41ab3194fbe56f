"""Classes that are found by their kind: a file in the folder of the kind, an installed package, or a file by its path.

A class is known by its base and by the word that it gives itself, ``kind: Literal['word']`` (schemes: ``name``).
What is broken, or called like something else, is an error for those who name it and for nobody else.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import PydanticKnownError, core_schema

from imcsim.util import installed, python_files
from imcsim.util.errors import ImcsimError, did_you_mean

Base = TypeVar("Base", bound=BaseModel)
SHIPPED = "imcsim"


def kind_of(cls: type[BaseModel]) -> str | None:
    """Return the word of ``kind: Literal['word']``; None for a class that leaves it open."""
    annotation = cls.model_fields["kind"].annotation
    return str(get_args(annotation)[0]) if get_origin(annotation) is Literal else None


def name_of(cls: type[BaseModel]) -> str | None:
    """Return the ``name`` that a class gives itself; None where it inherits one or has none."""
    return vars(cls).get("name")


@dataclass(frozen=True)
class Origin(Generic[Base]):
    """Where a class comes from; ``load`` returns it and raises ImcsimError where that fails."""

    place: str
    load: Callable[[], type[Base]]


class Registry(Generic[Base]):
    """The classes of one base. As an annotation, ``Annotated[Base, registry]``, it reads blocks by their ``kind``.

    ``noun``: what messages call such a class. ``folder``: the package with a file for each. ``group``: the entry points
    of installed packages. ``remedy``: what a file needs that has none. ``word_of``: what a class is called.
    """

    def __init__(
        self,
        noun: str,
        base: type[Base],
        *,
        folder: str,
        group: str,
        remedy: str,
        word_of: Callable[[type[BaseModel]], str | None] = kind_of,
    ) -> None:
        self.noun, self.base, self.folder, self.group = noun, base, folder, group
        self.remedy, self.word_of = remedy, word_of

    # -- what there is ---------------------------------------------------------------------------------------------

    @cached_property
    def origins(self) -> dict[str, list[Origin[Base]]]:
        """By word, every place that brings a class of that word; a file that cannot be loaded counts by its name."""
        places: dict[str, list[Origin[Base]]] = defaultdict(list)
        for word, origin in (*self._in_folder(), *self._in_packages()):
            places[word].append(origin)
        return dict(sorted(places.items()))

    def find(self, name: str) -> type[Base]:
        """Return a class by its word, by the path of a Python file, or by what ``key`` returned for it.

        Raises ImcsimError for a name that is unknown, that two packages bring, or whose file or package is broken.
        """
        if python_files.is_file(name):
            return self._of_file(Path(name))
        if "@" in name:
            return self._of_version(name)
        origins = self.origins.get(name, [])
        if not origins:
            problem = f"there is no such {self.noun}"
            raise ImcsimError(f"{self.noun} '{name}'", problem, did_you_mean(name, self.origins))
        if len(origins) > 1:
            places = " and ".join(origin.place for origin in origins)
            raise ImcsimError(f"{self.noun} '{name}'", f"is brought by {places}", "uninstall or rename all but one")
        return origins[0].load()

    def key(self, cls: type[BaseModel]) -> str:
        """Return what is written down for a class: its word, with a hash of its file where it came from one by path."""
        digest = python_files.digest_of(cls)
        return str(self.word_of(cls)) + (f"@{digest}" if digest else "")

    def _in_folder(self) -> Iterator[tuple[str, Origin[Base]]]:
        for info in pkgutil.iter_modules(sys.modules[self.folder].__path__):
            if info.name.startswith("_"):
                continue
            try:
                module = importlib.import_module(f"{self.folder}.{info.name}")
            except Exception as error:
                place = f"{self.folder}.{info.name}"
                broken = ImcsimError(place, python_files.failure(error), "correct or remove the file")
                yield info.name, Origin(place, _raises(broken))
                continue
            for word, cls in self._classes_in(module):
                yield word, Origin(SHIPPED, _returns(cls))

    def _in_packages(self) -> Iterator[tuple[str, Origin[Base]]]:
        for point in installed.points(self.group):
            yield point.name, Origin(installed.package_of(point), partial(self._of_package, point))

    def _classes_in(self, module: ModuleType) -> list[tuple[str, type[Base]]]:
        """Return the classes that a module defines itself and that say what they are called."""
        return [
            (word, cls)
            for cls in vars(module).values()
            if isinstance(cls, type) and issubclass(cls, self.base) and cls.__module__ == module.__name__
            if (word := self.word_of(cls)) is not None
        ]

    # -- loading one -----------------------------------------------------------------------------------------------

    def _of_package(self, point: EntryPoint) -> type[Base]:
        try:
            cls = point.load()
        except Exception as error:
            raise installed.broken(point, python_files.failure(error)) from None
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            raise installed.broken(point, f"'{point.value}' is no {self.noun}", self.remedy)
        if self.word_of(cls) != point.name:
            raise installed.broken(point, f"its class calls itself '{self.word_of(cls)}'", "give both the same name")
        return cls

    def _of_file(self, path: Path) -> type[Base]:
        classes = self._classes_in(python_files.load_file(path))
        if not classes:
            raise ImcsimError(str(path), f"it defines no {self.noun}", self.remedy)
        if len(classes) > 1:
            words = ", ".join(word for word, _ in classes)
            raise ImcsimError(str(path), f"it defines several: {words}", "keep one of them in the file")
        return classes[0][1]

    def _of_version(self, key: str) -> type[Base]:
        word, _, digest = key.partition("@")
        module = python_files.loaded(digest)
        classes = dict(self._classes_in(module)) if module else {}
        if word not in classes:
            problem = f"came from a Python file of that name and content, which this process has not read: {key}"
            raise ImcsimError(f"{self.noun} '{word}'", problem, "give the path of the file")
        return classes[word]

    # -- as a field of a declaration -------------------------------------------------------------------------------

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        dump = core_schema.plain_serializer_function_ser_schema(self._dumped, info_arg=True)
        return core_schema.no_info_plain_validator_function(self._checked, serialization=dump)

    def _checked(self, block: Any) -> Base:
        """Return what a block of a file declares; pydantic adds the place to the mistakes."""
        if isinstance(block, self.base):
            return block
        if not isinstance(block, Mapping):
            raise PydanticKnownError("model_attributes_type")
        if "kind" not in block:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
        kind = str(block["kind"])
        if not python_files.is_file(kind) and "@" not in kind and kind not in self.origins:
            known = {"discriminator": "'kind'", "tag": kind, "expected_tags": ", ".join(map(repr, self.origins))}
            raise PydanticKnownError("union_tag_invalid", known)
        try:
            cls = self.find(kind)
        except ImcsimError as error:
            raise ValueError(str(error)) from None
        return cls.model_validate_json(json.dumps({**block, "kind": self.word_of(cls)}, default=str))

    def _dumped(self, value: Base, info: core_schema.SerializationInfo) -> dict[str, Any]:
        data = value.model_dump(mode=info.mode, exclude_none=info.exclude_none)
        return {**data, "kind": self.key(type(value))}


def _raises(error: ImcsimError) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


def _returns(cls: type[Base]) -> Callable[[], type[Base]]:
    return lambda: cls
