"""Train a method on a stream, with Lightning."""
