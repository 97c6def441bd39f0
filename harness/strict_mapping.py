"""Typed reading of a mapping from outside: every key is asked for once, none may be left over."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from typing import TypeVar

from harness.errors import ConfigError

T = TypeVar("T")
_ANYTHING = re.compile(r".{1,200}")


class Fields:
    """Keys of one mapping. Every reader raises ConfigError that names place, key and expectation.

    where: how messages call the mapping, for example "boards/x.yaml: memory".
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise ConfigError(f"{where}: expected keys with values, found {_kind(data)}")
        self._data: dict[object, object] = data
        self.where = where
        self._asked: list[str] = []

    def close(self) -> None:
        """Refuse keys that nobody asked for, naming the nearest that exists."""
        for key in self._data:
            if key not in self._asked:
                near = difflib.get_close_matches(str(key), self._asked, 1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                known = ", ".join(self._asked)
                raise ConfigError(f"{self.where}: unknown key '{key}'{hint} Known are {known}")

    def text(self, key: str, pattern: re.Pattern[str] = _ANYTHING) -> str:
        """A required string that matches the whole pattern."""
        return self._text(key, self._required(key), pattern)

    def optional_text(self, key: str, pattern: re.Pattern[str] = _ANYTHING) -> str | None:
        """The string, or None when the key is absent."""
        value = self._get(key)
        return None if value is None else self._text(key, value, pattern)

    def texts(
        self,
        key: str,
        pattern: re.Pattern[str] = _ANYTHING,
        default: tuple[str, ...] | None = None,
    ) -> tuple[str, ...]:
        """A list of strings; `default` when absent, required without one."""
        value = self._get(key)
        if value is None and default is not None:
            return default
        return tuple(self._text(key, item, pattern) for item in self._list(key))

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """A required string out of `allowed`."""
        return self._choice(key, self._required(key), allowed)

    def choices(self, key: str, allowed: Collection[str]) -> tuple[str, ...]:
        """A required list of strings out of `allowed`."""
        return tuple(self._choice(key, item, allowed) for item in self._list(key))

    def number(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """An integer within the bounds; required without a default."""
        value = self._get(key)
        if value is None and default is not None:
            return default
        return self._number(key, self._required(key), least, most)

    def numbers(self, key: str, least: int, most: int) -> tuple[int, ...]:
        """A required list of integers within the bounds."""
        return tuple(self._number(key, item, least, most) for item in self._list(key))

    def real(self, key: str, least: float, most: float) -> float:
        """A required number within the bounds."""
        value = self._required(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, value, f"a number from {least} to {most}")
        if not least <= value <= most:
            raise self._wrong(key, value, f"a number from {least} to {most}")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def part(self, key: str, read: Callable[[Fields], T]) -> T | None:
        """A nested mapping, read whole by `read`; None when absent."""
        value = self._get(key)
        if value is None:
            return None
        inner = Fields(value, f"{self.where}: {key}")
        result = read(inner)
        inner.close()
        return result

    def parts(self, key: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of nested mappings, each read whole by `read`; empty when absent."""
        if self._get(key) is None:
            return ()
        found = []
        for number, value in enumerate(self._list(key)):
            inner = Fields(value, f"{self.where}: {key}[{number}]")
            found.append(read(inner))
            inner.close()
        return tuple(found)

    def words(self, key: str) -> dict[str, str]:
        """A required mapping of words to words, any of them."""
        value = self._required(key)
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        if not all(isinstance(a, str) and isinstance(b, str) for a, b in pairs):
            raise self._wrong(key, value, "words with text")
        return dict(pairs)

    def value(self, key: str) -> int | float | str | None:
        """A number, a text, or None when the key is absent."""
        value = self._get(key)
        if value is None or (isinstance(value, int | float | str) and not isinstance(value, bool)):
            return value
        raise self._wrong(key, value, "a number or text")

    def reals(self, key: str) -> tuple[float, ...]:
        """A required list of numbers."""
        values = self._list(key)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self._wrong(key, value, "a list of numbers")
        return tuple(float(value) for value in values if isinstance(value, int | float))

    def _get(self, key: str) -> object:
        if key not in self._asked:
            self._asked.append(key)
        return self._data.get(key)

    def _required(self, key: str) -> object:
        value = self._get(key)
        if value is None:
            raise ConfigError(f"{self.where}: the key '{key}' is missing")
        return value

    def _list(self, key: str) -> list[object]:
        value = self._required(key)
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        return value

    def _text(self, key: str, value: object, pattern: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            expected = "text" if pattern is _ANYTHING else f"text like {pattern.pattern}"
            raise self._wrong(key, value, expected)
        return value

    def _choice(self, key: str, value: object, allowed: Collection[str]) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise self._wrong(key, value, f"one of {', '.join(allowed)}")
        return value

    def _number(self, key: str, value: object, least: int, most: int) -> int:
        expected = f"an integer from {least} to {most}"
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._wrong(key, value, expected)
        return value

    def _wrong(self, key: str, value: object, expected: str) -> ConfigError:
        return ConfigError(f"{self.where}: '{key}' is {value!r}; expected {expected}")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
