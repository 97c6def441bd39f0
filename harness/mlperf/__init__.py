"""MLPerf Tiny by its rules: performance and accuracy of the four classic benchmarks.

`run.run_mlperf` is the whole of a run; docs/mlperf.md says which rule is checked where.
"""
