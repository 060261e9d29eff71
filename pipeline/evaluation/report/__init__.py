"""The evaluation as a page: sections, charts, HTML."""
