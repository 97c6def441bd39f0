"""Frames: what goes in comes out, and what did not survive the line is never taken for a frame."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ProtocolError
from harness.protocol import (
    FRAME_MAX,
    Frame,
    FrameReader,
    Infer,
    Kind,
    cobs_decode,
    cobs_encode,
    encode_frame,
)


@given(st.binary(max_size=1200))
def test_cobs_round_trip(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("size", [253, 254, 255, 507, 508, 509])
@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\0", b"\0x"])
def test_cobs_at_full_blocks(size: int, tail: bytes) -> None:
    data = b"\x11" * size + tail
    assert cobs_decode(cobs_encode(data)) == data
    assert cobs_encode(b"\x11" * 254) == b"\xff" + b"\x11" * 254


@pytest.mark.parametrize("block", [b"\x05ab", b"\x02", b"\x00", b"\x03a\x00"])
def test_what_is_not_cobs(block: bytes) -> None:
    assert cobs_decode(block) is None


@given(st.binary(max_size=600), st.integers(0, 0xFFFF), st.integers(1, 0xFFFFFFFF))
def test_frames_survive_any_cut(body: bytes, sequence: int, session: int) -> None:
    frame = Frame(Kind.ECHO, sequence, session, body)
    wire = encode_frame(frame) * 2
    reader = FrameReader()
    got = [item for at in range(0, len(wire), 7) for item in reader.feed(wire[at : at + 7])]
    assert got == [frame, frame]
    assert reader.rejected == 0


def test_a_flipped_bit_is_never_a_frame() -> None:
    chooser = random.Random(5)
    wire = encode_frame(Frame(Kind.RESULT, 3, 77, bytes(range(200))))
    for _ in range(2000):
        damaged = bytearray(wire)
        damaged[chooser.randrange(1, len(wire) - 1)] ^= 1 << chooser.randrange(8)
        reader = FrameReader()
        assert list(reader.feed(bytes(damaged))) == []
        assert reader.rejected >= 1


def test_noise_costs_one_frame_at_most() -> None:
    frame = Frame(Kind.HELLO, 1, 1, b"x")
    reader = FrameReader()
    got = list(reader.feed(b"m-ready\r\n" + encode_frame(frame) + b"\x07" + encode_frame(frame)))
    assert got == [frame, frame]
    assert reader.rejected == 2


def test_too_long_a_frame_is_our_mistake() -> None:
    with pytest.raises(ProtocolError, match=f"at most {FRAME_MAX}"):
        encode_frame(Frame(Kind.ECHO, 1, 1, bytes(FRAME_MAX)))


def test_a_short_body_is_refused() -> None:
    with pytest.raises(ProtocolError, match="the body of Infer has 3 bytes; expected at least 24"):
        Infer.unpack(b"abc")
