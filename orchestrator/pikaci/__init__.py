"""The frontend: catalog, selection and command line."""

__version__ = "0.1.0"
