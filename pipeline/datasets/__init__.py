"""Raw data sets: what their records are."""
