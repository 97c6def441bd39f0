"""What can go wrong outside the compiler, and who must act.

    HarnessError
    ├── ConfigError         the user's input or options: fix the command or the file
    ├── ToolchainError      a tool or package on this machine: install or update it
    ├── DownloadError       a server did not give a file: check the network or the address
    └── BoardError          the board, probe or link (infrastructure)
        ├── BoardNotFound       nothing fits, or two do
        ├── WrongBoard          the probe sees another chip than the board file names
        ├── FlashError          writing or verifying the image failed
        ├── TransportTimeout    the link stayed silent past its deadline
        ├── ProtocolError       the link delivered what the protocol does not allow
        └── DeviceFault         the firmware reported a fault

Foreign exceptions are mapped to one of these where they enter. Exit codes say who must act.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of every `axonrig` command (docs/exit-codes.md)."""

    OK = 0
    NO = 1
    """The question was answered, and the answer is no: unsupported, disagrees, regressed."""
    USAGE = 2
    """The command line itself is wrong."""
    INPUT = 3
    """A file or value that the user gave is unreadable, malformed or out of range."""
    INFRASTRUCTURE = 4
    """Board, probe, flashing or link; or a server, when something is downloaded."""
    TOOL = 5
    """A tool or optional package is missing or failed."""


class HarnessError(Exception):
    """Base of everything the harness raises on purpose."""

    exit_code: ExitCode = ExitCode.INPUT


class ConfigError(HarnessError):
    """The user's input or options cannot be used as given."""


class ToolchainError(HarnessError):
    """A tool or optional package is missing, too old, or failed."""

    exit_code = ExitCode.TOOL


class DownloadError(HarnessError):
    """A server did not give a file whole."""

    exit_code: ExitCode = ExitCode.INFRASTRUCTURE


class BoardError(HarnessError):
    """The board, the probe or the link; never a wrong prediction."""

    exit_code = ExitCode.INFRASTRUCTURE


class BoardNotFound(BoardError):
    """No connected board fits, or more than one does."""


class WrongBoard(BoardError):
    """The probe sees another chip than the board file names."""


class FlashError(BoardError):
    """Writing or verifying the image failed."""


class TransportTimeout(BoardError):
    """The link stayed silent past its deadline."""


class ProtocolError(BoardError):
    """The link delivered what the protocol does not allow."""


class DeviceFault(BoardError):
    """The firmware reported a fault."""
