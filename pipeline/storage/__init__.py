"""Where data sets are stored: folders, buckets, and a cache in between."""
