"""Fields of a settings dataclass: their pydantic annotations, and checks by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo


@cache
def described_fields(cls: type) -> Mapping[str, FieldInfo]:
    """Return the fields of a dataclass that have a description, in order, as pydantic reads their annotations."""
    hints = get_type_hints(cls, include_extras=True)
    infos = {one.name: FieldInfo.from_annotation(hints[one.name]) for one in fields(cls)}
    return {name: info for name, info in infos.items() if info.description}


def faults_of(settings: object) -> list[str]:
    """Return a sentence for each described field whose value breaks the field's type or bounds; it names the field."""
    cls: Any = type(settings)
    faults = []
    for name in described_fields(cls):
        value = getattr(settings, name)
        try:
            _adapter(cls, name).validate_python(value)
        except ValidationError as error:
            faults.append(f"{name}: {error.errors()[0]['msg']} (given: {value!r})")
    return faults


@cache
def _adapter(cls: type, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(cls, include_extras=True)[name])
