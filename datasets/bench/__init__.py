"""Time of making data beside plain loops of the same schemes: ``python -P -m sciml.datasets.bench``.

Both sides of a case use the same scheme, step and precision, on one thread, and run in one process in turns.
"""
