"""The package's version: that of the library's headers, which a test compares."""

__version__ = "0.2.0"
