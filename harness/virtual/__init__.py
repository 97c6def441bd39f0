"""The emulated nRF54 board: runs the image that would be flashed. See docs/virtual-board.md."""
