"""The evaluation as an HTML page, with images, curves and sounds."""
