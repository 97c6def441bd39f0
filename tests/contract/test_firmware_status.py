"""The host has a sentence for every status code of the firmware, under the same number and name."""

from __future__ import annotations

import re

from harness.firmware_status import STATUS_NAMES
from tests.support.firmware_host import FIRMWARE


def test_codes_and_names() -> None:
    text = (FIRMWARE / "include" / "axr_status.h").read_text()
    codes = {int(value): name for name, value in re.findall(r"AXR_(\w+) = (\d+),", text)}
    assert codes == {code: name for code, (name, _) in STATUS_NAMES.items()}


def test_every_code_has_a_sentence() -> None:
    assert all(sentence for _, sentence in STATUS_NAMES.values())
