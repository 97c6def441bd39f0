"""YAML from outside, composed within bounds.

A few hundred bytes of nested aliases can stand for billions of values. So a document's size, depth
and expanded size are checked while it is composed, before anything is built from it; tags that
would build other objects than plain data are never constructed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import yaml

from compiler.errors import ModelFormatError

MAX_BYTES: Final = 256 * 1024
MAX_NODES: Final = 20_000
"""Values in a document, an alias counting as often as it is used."""
MAX_DEPTH: Final = 16
TAG: Final = "tag:yaml.org,2002:"
"""Prefix of the tags of plain YAML values."""


class _TooLarge(Exception):
    """The document would cost more than its kind may."""


class _BoundedLoader(yaml.SafeLoader):
    """Composes nodes only, and refuses documents that are deep, cyclic, or vast once expanded."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._expanded: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _TooLarge(f"values nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if not is_alias:
            self._expanded[id(node)] = self._size(node)
        elif id(node) not in self._expanded:  # still being composed: it contains this alias
            raise _TooLarge("an alias inside the value that it names")
        return node

    def _size(self, node: yaml.Node) -> int:
        children: Iterable[yaml.Node] = ()
        if isinstance(node, yaml.MappingNode):
            children = itertools.chain.from_iterable(node.value)
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        total = 1 + sum(self._expanded[id(child)] for child in children)
        if max(total, len(self._expanded)) > MAX_NODES:
            raise _TooLarge(f"more than {MAX_NODES} values, aliases expanded")
        return total


def compose(data: bytes, path: Path) -> yaml.Node:
    """The one document in `data` as a node tree, nothing constructed.

    `path` is for messages. Raises ModelFormatError, with the line where YAML names one, when the
    bytes are empty, not UTF-8, not YAML, several documents, or past a bound of this module.
    """
    if not data.strip():
        raise ModelFormatError(f"{path}: the file is empty")
    if len(data) > MAX_BYTES:
        raise ModelFormatError(
            f"{path}: refused, larger than {MAX_BYTES // 1024} KB, which no file of this kind is"
        )
    try:
        node = _compose_text(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except _TooLarge as error:
        raise ModelFormatError(f"{path}: refused, it holds {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise ModelFormatError(f"{where}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ModelFormatError(f"{path}: not valid YAML: {error}") from None
    if node is None:
        raise ModelFormatError(f"{path}: the file holds only comments")
    return node


def load(data: bytes, path: Path) -> object:
    """The one document in `data` as plain Python data: as `compose`, then built.

    Aliased values are one shared object. Raises ModelFormatError as `compose` does, and for a tag
    that is not plain YAML.
    """
    node = compose(data, path)
    loader = _BoundedLoader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else error
        raise ModelFormatError(f"{path}: not plain YAML: {problem}") from None
    finally:
        loader.dispose()


def _compose_text(text: str) -> yaml.Node | None:
    loader = _BoundedLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()
