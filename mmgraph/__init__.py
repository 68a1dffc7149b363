"""mmgraph mirrors large sets of container images between registries the way make builds files.

Read the modules in this order: specs, discover, observe, graph, plan, transfer, execute, report.
"""

__version__ = "0.1.0"
