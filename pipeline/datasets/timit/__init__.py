"""TIMIT: its folders, its sound files, its segments."""
