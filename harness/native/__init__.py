"""The native engine: Axon programs in C, built for the machine at hand, bit-exact.

abi.py: the structures of src/plan.h. build.py: compiles and loads src/. pack.py: weights and
requantization as the kernels want them. moves.py: layers that copy elements, as runs. plan.py: a
program becomes a plan. engine.py: runs it.
"""
