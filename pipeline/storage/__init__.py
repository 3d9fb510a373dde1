"""Storage locations: folders on disk, buckets, and the cache between them."""
