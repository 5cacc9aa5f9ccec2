"""How fast Ziyu is, beside a bare loop of its own code and beside plain Python services. docs/benchmarks.md has the
commands and the figures."""
