"""Speed and memory of the kernels beside their reference and the peers: ``python -P -m sciml.kernels.bench``.

All contestants of a case run in one process, in turns. The tables carry medians, quartiles, the ratio to
ours, and the memory of one pass.
"""
