"""What changed since the last night, and whether it is real (docs/nightly.md, "The gates").

`exact`, `two_sample` and `change_points` are pure functions on figures; `harness.nightly.judge`
applies them and the budgets to a night of the history.
"""
