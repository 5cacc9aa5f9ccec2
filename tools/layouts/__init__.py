"""The files of tests/data/layouts, a module per format; used by tools/make_layouts.py."""
