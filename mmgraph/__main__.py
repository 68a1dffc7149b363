"""``python -m mmgraph``: the command line under another name."""

from mmgraph.cli import program

program()
