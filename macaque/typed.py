"""The types of a service's function: the data of a request is decoded and checked by its annotations.

The rules of this file:

* Annotations are resolved when the service is registered, and again at the start if a name was not defined yet. An
  annotation that cannot be resolved is a TypeError, and so is a parameter that JSON cannot be decoded to. No parameter
  silently becomes untyped. A result may be of any type that can be sent.
* Data that does not fit its annotation is a Mismatch, which the caller gets as RemoteError with code 400. The function
  does not run.
* msgspec decodes and checks. If an annotation contains a pydantic model, pydantic does it.

Pure: this code calls no function of the application.
"""

from __future__ import annotations

import builtins
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec

from macaque.context import Request
from macaque.envelope import decode_data
from macaque.errors import Abort
from mqlight.functions import innermost, name_of, unrun
from mqlight.json_text import encode_json

__all__ = ["Codec", "Mismatch", "Type", "told", "type_of"]

_PLACE = re.compile(r" - at (`key` in )?`\$(.*)`$")
_MORE = 4
"""Errors beside the first one that the sentence of a Mismatch tells."""


class Mismatch(Abort):
    """Data that does not fit its type. The function did not run.

    `details` is `{"parameter": its name, "errors": [{"path": ..., "message": ...}, ...]}`.
    """


class Type:
    """A type to which JSON is decoded.

    Args:
        annotation: a type that msgspec or pydantic can decode.

    Raises:
        TypeError: neither can. The text is the reason.
        NameError: a field of the type names something that is not defined.
    """

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self._adapter: Any = None
        if _needs_pydantic(annotation, set()):
            self._adapter = _adapter(annotation)
            return
        for kind in _custom(msgspec.inspect.type_info(annotation), set()):
            raise TypeError(f"{getattr(kind, '__qualname__', kind)} is no type that JSON can be decoded to")
        self._json = msgspec.json.Decoder(annotation).decode

    @property
    def name(self) -> str:
        """The type as an error shows it."""
        return _shown(self.annotation)

    def from_json(self, text: bytes | msgspec.Raw) -> Any:
        """Decode JSON. Raises ValueError: the text does not fit the type; see `errors`."""
        return self._json(text) if self._adapter is None else self._adapter.validate_json(bytes(text))

    def from_plain(self, value: object) -> Any:
        """Convert a decoded value. Raises ValueError as `from_json` does."""
        if self._adapter is not None:
            return self._adapter.validate_python(value)
        return msgspec.convert(value, self.annotation)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the type; empty if there is none."""
        try:
            if self._adapter is not None:
                return dict(self._adapter.json_schema())
            return msgspec.json.schema(self.annotation)
        except (TypeError, ValueError):
            return {}

    def errors(self, error: ValueError, name: str) -> list[dict[str, str]] | None:
        """Return the misfits in their order, each as `{"path", "message"}`; None if the text is no JSON.

        Args:
            error: the error of `from_json` or `from_plain`.
            name: begins each path.
        """
        if isinstance(error, msgspec.ValidationError):
            text = str(error)
            place = _PLACE.search(text)
            if place is None:
                return [{"path": name, "message": text}]
            at = f"a key of {name}{place[2]}" if place[1] else f"{name}{place[2]}"
            return [{"path": at, "message": text[: place.start()]}]
        if self._adapter is None or not hasattr(error, "errors"):
            return None
        told = error.errors(include_url=False, include_context=False, include_input=False)
        return [{"path": name + "".join(map(_step, each["loc"])), "message": each["msg"]} for each in told]


def told(errors: list[dict[str, str]]) -> str:
    """Return the errors as the end of a sentence."""
    told = "; ".join(f"{each['message']} at {each['path']}" for each in errors[: 1 + _MORE])
    more = len(errors) - 1 - _MORE
    return told if more <= 0 else f"{told}; and {more} more"


def type_of(annotation: Any) -> Type:
    """Return a type for `client.call(..., returns=annotation)`. It is made once for each annotation.

    Raises:
        TypeError: JSON cannot be decoded to it.
    """
    try:
        return _made(annotation)
    except (NameError, TypeError) as error:
        raise TypeError(f"returns={_shown(annotation)} cannot be the type of a result: {error}.") from error


_made = lru_cache(maxsize=1024)(Type)


class Codec:
    """The types of one service's function. The constructor begins to resolve them.

    Args:
        topic: the topic of the service, for errors.
        function: takes the data of a request and, if its second parameter is annotated so, the Request.
        scope: names beside the globals of the function, such as the locals of the function that defines it.

    Raises:
        TypeError: the function cannot be called with the data, or an annotation cannot be used.
    """

    def __init__(self, topic: str, function: Callable[..., Any], scope: Mapping[str, Any] | None = None) -> None:
        self.topic = topic
        self.wants_request = False
        """Whether the function takes the Request as its second argument."""
        self.parameter = "data"
        self.data: Type | None = None
        """The type of the data; None if it is not annotated."""
        self.returns: Type | None = None
        """The type of the result, or of each part that a generator yields; None if it is not annotated."""
        self.decode: Callable[[Any], Any] = decode_data
        """Return the data of JSON. Raises Mismatch, or ValueError or RecursionError if the text is no JSON."""
        self.convert: Callable[[Any], Any] | None = None
        """Return the data of a value that came without JSON, or raise Mismatch; None: the data is the value."""
        self._function = function
        self._source = innermost(inspect.unwrap(innermost(function)))
        self._scope = scope
        self._open: list[tuple[str, Any]] = []
        """Annotations that are not resolved: the name of the parameter, or "return", and the annotation."""
        self._read_signature()
        try:
            self.resolve()
        except _Undefined:
            pass  # `resolve` is called again at the start

    def resolve(self) -> None:
        """Resolve the annotations whose names were not defined earlier.

        Raises:
            TypeError: a name is still not defined, or an annotation cannot be used.
        """
        while self._open:
            name, annotation = self._open[0]
            self._take(name, self._resolved(name, annotation))
            self._open.pop(0)
        self._scope = None

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schemas `{"request": ..., "reply": ...}`, each without a member if it is not annotated."""
        types = {"request": self.data, "reply": self.returns}
        return {name: each.schema() for name, each in types.items() if each is not None}

    def check(self, result: object) -> None:
        """Check the result of the function. Raises TypeError: it does not fit the annotation."""
        if self.returns is None:
            return
        try:
            self.returns.from_json(encode_json(result))
        except ValueError as error:
            found = self.returns.errors(error, "result") or [{"path": "result", "message": str(error)}]
            raise TypeError(f"The result of {self.topic} does not fit its annotation: {told(found)}.") from error

    def _read_signature(self) -> None:
        try:
            signature = inspect.signature(self._function, **_LATER)
        except (TypeError, ValueError):
            return  # some functions written in C do not tell their parameters
        placed = [each for each in signature.parameters.values() if each.kind in _PLACED]
        takes_one, takes_two = _takes(signature, None), _takes(signature, None, None)
        if not placed and takes_one:  # *data
            return
        second = placed[1] if len(placed) > 1 and takes_two else None
        if second is not None and second.annotation is inspect.Parameter.empty:
            second = None
        if not takes_one and second is None:
            name = name_of(self._function)
            raise TypeError(
                f"{name}{signature} does not take one argument, the data of the request: write def {name}(data), "
                f"or def {name}(data, request: macaque.Request)."
            )
        self._needs_second = not takes_one
        self.parameter = placed[0].name
        annotations = [(placed[0].name, placed[0].annotation), ("return", signature.return_annotation)]
        if second is not None:
            annotations.insert(1, (second.name, second.annotation))
        self._open = [(name, each) for name, each in annotations if each is not inspect.Parameter.empty]

    def _take(self, name: str, annotation: Any) -> None:
        """Use a resolved annotation."""
        if name not in (self.parameter, "return"):
            self.wants_request = annotation is Request
            if not self.wants_request and self._needs_second:
                raise TypeError(
                    f"{self._at(name)} is annotated {_shown(annotation)}, and the second argument of a service is "
                    f"its macaque.Request: write {name}: macaque.Request."
                )
        elif name == "return":
            if unrun(self._source) is not None and typing.get_origin(annotation) in _ITERATORS:
                annotation = typing.get_args(annotation)[0]
            try:
                self.returns = self._type(name, annotation)
            except _Undefined:
                raise
            except TypeError:
                pass  # it can be sent, but there is nothing to compare it with
        elif annotation is Request:
            raise TypeError(f"{self._at(name)} is the data; the macaque.Request is the second parameter.")
        elif (data := self._type(name, annotation)) is not None:
            self.data = data
            self.decode = partial(self._checked, data.from_json)
            self.convert = partial(self._checked, data.from_plain)

    def _checked(self, decode: Callable[[Any], Any], value: Any) -> Any:
        try:
            return decode(value)
        except ValueError as error:
            assert self.data is not None
            found = self.data.errors(error, self.parameter)
            if found is None:
                raise
            said = f"The data does not fit the parameter {self.parameter!r} of {self.topic}: {told(found)}"
            raise Mismatch(400, said, {"parameter": self.parameter, "errors": found}) from error

    def _type(self, name: str, annotation: Any) -> Type | None:
        if annotation in (Any, object) or isinstance(annotation, TypeVar):
            return None
        try:
            return Type(annotation)
        except NameError as error:
            raise self._undefined(name, error) from error
        except TypeError as error:
            raise TypeError(f"{self._at(name)} is annotated {_shown(annotation)}: {error}.") from error

    def _resolved(self, name: str, annotation: Any) -> Any:
        """Return an annotation whose names are resolved."""
        holder = SimpleNamespace(__annotations__={name: annotation})
        names = getattr(self._source, "__globals__", None) or vars(inspect.getmodule(self._source))
        try:
            return typing.get_type_hints(holder, names, dict(self._scope or {}), include_extras=True)[name]
        except NameError as error:
            raise self._undefined(name, error) from error
        except Exception as error:
            raise TypeError(f"{self._at(name)} has an annotation that cannot be read: {error}.") from error

    def _undefined(self, name: str, error: NameError) -> _Undefined:
        missing = error.name or str(error)
        return _Undefined(
            f"{self._at(name)} is annotated with {missing}, which is not defined. If {missing} is imported under "
            f"`if TYPE_CHECKING:`, import it without that condition."
        )

    def _at(self, name: str) -> str:
        """Return the beginning of an error: the parameter, the service and its place in the source."""
        what = "The result" if name == "return" else f"The parameter {name!r}"
        code = getattr(self._source, "__code__", None)
        place = "" if code is None else f" ({code.co_filename}, line {code.co_firstlineno})"
        return f"{what} of the service {self.topic!r}{place}"


class _Undefined(TypeError):
    """An annotation names something that is not defined, at least not yet."""


try:
    from annotationlib import Format

    _LATER: dict[str, Any] = {"annotation_format": Format.FORWARDREF}
except ImportError:  # before Python 3.14, annotations are values or text
    _LATER = {}
_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ITERATORS = tuple(
    typing.get_origin(each)
    for each in (
        typing.Iterator[int], typing.Iterable[int], typing.Generator[int, None, None],
        typing.AsyncIterator[int], typing.AsyncIterable[int], typing.AsyncGenerator[int, None],
    )
)  # fmt: skip


def _takes(signature: inspect.Signature, *arguments: None) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _shown(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _step(place: int | str) -> str:
    return f"[{place}]" if isinstance(place, int) else f".{place}"


def _custom(info: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the classes in a type that msgspec cannot decode to."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        yield info.cls
    elif isinstance(info, tuple):
        for each in info:
            yield from _custom(each, seen)
    elif isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field):
        for name in info.__struct_fields__:
            yield from _custom(getattr(info, name), seen)


def _needs_pydantic(annotation: Any, seen: set[int]) -> bool:
    """Return whether a type is, or contains, a model or a dataclass of pydantic."""
    if id(annotation) in seen:
        return False
    seen.add(id(annotation))
    if isinstance(annotation, type) and hasattr(annotation, "__pydantic_validator__"):
        return True
    inner = list(typing.get_args(annotation))
    if isinstance(annotation, type) and annotation.__module__ != builtins.__name__:
        inner += typing.get_type_hints(annotation).values()
    return any(_needs_pydantic(each, seen) for each in inner)


def _adapter(annotation: Any) -> Any:
    import pydantic

    try:
        return pydantic.TypeAdapter(annotation)
    except pydantic.PydanticUserError as error:
        raise TypeError(error.message) from error
