"""How biased a detector is, and what mends it. Terms of the training loss are in `core/heads.py`, which `fit` minimises."""
