"""What the compiler refuses, and why.

    CompilerError
    ├── ModelFormatError    the bytes are not a model (or program, or job) we can read
    ├── UnsupportedError    a sound model that the NPU or this compiler cannot express
    ├── VerifyError         a program that breaks its invariants (our bug, or a bad binary)
    └── InputError          an array that does not fit the program it is given to

Every message is one sentence: what, where, found, expected, what to do.
"""

from __future__ import annotations


class CompilerError(Exception):
    """Base of everything the compiler raises on purpose."""


class ModelFormatError(CompilerError):
    """The input cannot be read as what it claims to be."""


class UnsupportedError(CompilerError):
    """The model is sound, but cannot be expressed as an Axon program."""


class VerifyError(CompilerError):
    """A program breaks an invariant; see `compiler.verify`."""


class InputError(CompilerError):
    """An input array has the wrong shape, type or values for its program."""
