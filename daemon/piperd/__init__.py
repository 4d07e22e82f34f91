"""piperd: a speech spooler. Files in, speech out."""

from importlib.metadata import version

__version__ = version("piperd")
