"""Judge a trained method."""
