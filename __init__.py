"""WeakSVR: verify from video that a procedure was done right, the same steps in the same order."""

from importlib.metadata import version

__version__ = version("weaksvr")
