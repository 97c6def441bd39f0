"""Reports of a run: JSON (docs/report.md), and a terminal table made from that JSON."""
