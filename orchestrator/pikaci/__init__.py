"""The frontend: catalog, selection and command line."""
