"""The API, the pages and the streams."""
