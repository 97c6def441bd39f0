"""Charts as SVG text. Pure functions: the same figures give the same bytes.

A chart inside a page takes its colours from the page; `standalone` makes a file of it.
"""
